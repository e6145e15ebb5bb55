# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments in versions: each is built beside the last under its own name, and a link is swung when it is whole.

``/opt/envs/tf`` is a link to ``/opt/envs/tf-5f1c9a02``. Prefixes cannot be moved once conda has written them, so a
version is built where it stays; what makes it count is its marker, written last. ``/opt/envs/.tf.journal`` names the
directory that is being built or removed at the moment, and is locked meanwhile: a later run clears away what a killed
one left, and touches nothing else.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from dataclasses import dataclass, replace
from typing import Any, Callable, Iterator, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.gpulab.workstation.plugins.module_utils import _conda_prefix, _wheels
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_client import Client, CondaError
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_pip import Pip
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_plan import (
    Before,
    Locked,
    Plan,
    Request,
    additions,
    compose_marker,
    drift,
    foreseen,
    locked_requirements,
    public,
    render_lock,
    unmet,
)

PATIENCE_S = 600


class Environment:
    """One environment, known to people as ``prefix``."""

    def __init__(self, prefix: str) -> None:
        self.prefix = os.path.abspath(prefix)
        self.parent, self.name = os.path.split(self.prefix)
        self.wheels = os.path.join(self.parent, ".wheels")
        self._journal = os.path.join(self.parent, f".{self.name}.journal")
        self._lock_fd: Optional[int] = None

    def before(self) -> Before:
        """Return what stands under the name now."""
        if os.path.islink(self.prefix):
            path = os.path.realpath(self.prefix)
            kind = "link" if os.path.isdir(path) else "absent"
            return Before(kind=kind, path=path, contents=_conda_prefix.read(path))
        if not os.path.lexists(self.prefix):
            return Before(kind="absent")
        kind = "directory" if _conda_prefix.is_environment(self.prefix) else "other"
        return Before(kind=kind, path=self.prefix, contents=_conda_prefix.read(self.prefix))

    def versions(self) -> List[str]:
        """Return the directories of the complete versions of this environment, the newest first."""
        try:
            names = os.listdir(self.parent)
        except FileNotFoundError:
            return []
        paths = [os.path.join(self.parent, name) for name in names if name.startswith(f"{self.name}-")]
        markers = {path: _conda_prefix.read_marker(path) for path in paths}
        ours = [path for path, marker in markers.items() if marker and marker.get("prefix") == self.prefix]
        return sorted(ours, key=lambda path: os.stat(os.path.join(path, _conda_prefix.MARKER)).st_mtime, reverse=True)

    def plan(self, request: Request, *, state: str) -> Plan:
        """Return what is to be done so that the environment is as declared. Raises CondaError where it must not be."""
        before = self.before()
        if state == "absent":
            if before.kind == "other":
                raise CondaError(f"{self.prefix} is not a conda environment: it is left alone", kind="permission")
            gone = before.kind == "absent" and not os.path.islink(self.prefix) and not self.versions()
            return Plan(action="none" if gone else "remove", reasons=() if gone else ("it is to be absent",))
        reasons = drift(request, before, state=state, channel_of=self._channel_of(before.path))
        if not reasons:
            return Plan(action="none", path=before.path, request=request)
        if before.kind in ("directory", "other"):
            raise CondaError(
                f"{self.prefix} was not made by this module and is not the declared environment ({reasons[0]}). "
                "Move it away, remove it with state=absent, or choose another prefix.",
                kind="permission",
            )
        if state == "present":
            request = additions(
                request,
                before.contents,
                requested=_conda_prefix.requested(before.path),
                by_pip=_conda_prefix.by_pip(before.path, only_requested=True),
            )
        path, whole = self._slot(request)
        return Plan(action="switch" if whole else "build", path=path, reasons=tuple(reasons), request=request)

    def leftover(self) -> str:
        """Return the directory that a killed run was building or removing; empty when there is none."""
        try:
            with open(self._journal, encoding="utf-8") as file:
                path = file.read().strip()
        except FileNotFoundError:
            return ""
        return path if path and os.path.lexists(path) and not _conda_prefix.read_marker(path) else ""

    def telling(self) -> List[str]:
        """Return the files of the versions in which an earlier release wrote down a password for all to read."""
        names = (_conda_prefix.MARKER, os.path.join("conda-meta", "history"))
        files = [os.path.join(path, name) for path in self.versions() for name in names]
        return [file for file in files if _text(file) != public(_text(file))]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the environment for this process. Waits for another run, and for a client that outlived its own."""
        os.makedirs(self.parent, mode=0o755, exist_ok=True)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            descriptor = os.open(self._journal, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.exists(self._journal) and os.path.samestat(os.fstat(descriptor), os.stat(self._journal)):
                    break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(descriptor)
                    message = f"another run has been working on {self.prefix} for {PATIENCE_S} s"
                    raise CondaError(message, kind="client") from None
                time.sleep(0.2)
            os.close(descriptor)
        self._lock_fd = descriptor
        try:
            yield
        finally:
            if os.fstat(descriptor).st_size == 0:
                os.unlink(self._journal)
            self._lock_fd = None
            os.close(descriptor)

    def clear_leftover(self) -> None:
        """Remove what a killed run left."""
        path = self.leftover()
        if path:
            _remove_tree(path)
        self._note("")

    def conceal(self, files: Sequence[str]) -> None:
        """Take the passwords out of files, which stay as old as they were: by that the versions are told apart."""
        for file in files:
            stamp = os.stat(file)
            _replace_file(file, public(_text(file)))
            os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))

    def build(self, plan: Plan, *, declared: Request, client: Client, pip: Pip, details: Mapping[str, Any]) -> None:
        """Build the version that ``plan`` names, whole, or leave nothing. Raises CondaError."""
        path = plan.path
        self._note(path)
        try:
            self._fill(path, plan.request, client=client, pip=pip)
            contents = _conda_prefix.read(path)
            lacking = unmet(plan.request, contents, channel_of=self._channel_of(path))
            # What only pip can weigh, it has weighed.
            lacking = [item for item in lacking if not _beyond_names(item)]
            if lacking:
                raise CondaError(f"the client reported success, but {', '.join(lacking)} is missing", kind="client")
            marker = compose_marker(
                prefix=self.prefix,
                request=declared,
                built_from=plan.request.digest,
                contents=contents,
                details=details,
            )
            _write_marker(path, marker)
        except BaseException:
            _remove_tree(path)
            self._note("")
            raise
        self._note("")

    def switch(self, path: str) -> None:
        """Let the name point to the version at ``path``, in one step."""
        draft = os.path.join(self.parent, f".{self.name}.link")
        if os.path.lexists(draft):
            os.unlink(draft)
        os.symlink(os.path.basename(path), draft)
        os.replace(draft, self.prefix)
        _sync_directory(self.parent)

    def prune(self, *, keep: int, last: str) -> List[str]:
        """Remove complete versions that are not in use, all but ``keep``. Return those removed.

        Kept are the one that was in use ``last``, then the newest.
        """
        current = os.path.realpath(self.prefix)
        others = [path for path in self.versions() if path != current]
        old = sorted(others, key=lambda path: path != last)[keep:]
        for path in old:
            self._discard(path)
        return old

    def remove(self) -> None:
        """Remove the name, then every version."""
        before = self.before()
        if os.path.islink(self.prefix):
            os.unlink(self.prefix)
        elif before.kind == "directory":
            aside = os.path.join(self.parent, f".{self.name}.removed")
            os.rename(self.prefix, aside)
            self._discard(aside)
        for path in self.versions():
            self._discard(path)

    def _slot(self, request: Request) -> Tuple[str, bool]:
        """Return where the version for ``request`` lies or is to be built, and whether it is there and intact."""
        first = f"{self.prefix}-{request.digest[:8]}"
        path, number = first, 1
        while os.path.lexists(path) and path != self.leftover():
            contents = _conda_prefix.read(path)
            if contents.intact() and (contents.marker or {}).get("built_from") == request.digest:
                return path, True
            number += 1
            path = f"{first}.{number}"
        return path, False

    def _fill(self, path: str, request: Request, *, client: Client, pip: Pip) -> None:
        client.create(path, request, lock_fd=self._lock_fd)
        broken = _conda_prefix.damaged(path)
        if broken:
            for record in broken:
                if record.get("extracted_package_dir"):
                    shutil.rmtree(record["extracted_package_dir"], ignore_errors=True)
            _remove_tree(path)
            client.create(path, request, lock_fd=self._lock_fd)
            broken = _conda_prefix.damaged(path)
        if broken:
            names = ", ".join(record["name"] for record in broken)
            raise CondaError(f"files of {names} are missing or cut short after the installation", kind="damaged")
        for locked in request.lock:
            _verify(path, locked)
        if request.uses_pip:
            pip.install(path, packages=request.pip_packages, lock=request.pip_lock, lock_fd=self._lock_fd)

    def _discard(self, path: str) -> None:
        """Remove a version so that a killed removal is finished by the next run, and never taken for a whole one."""
        self._note(path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(path, _conda_prefix.MARKER))
        _remove_tree(path)
        self._note("")

    def _note(self, path: str) -> None:
        if self._lock_fd is None:
            raise AssertionError("the journal belongs to the holder of the lock")
        os.ftruncate(self._lock_fd, 0)
        os.pwrite(self._lock_fd, path.encode(), 0)
        os.fsync(self._lock_fd)

    def _channel_of(self, path: str) -> Any:
        return lambda package: _conda_prefix.channel_of(path, package)


@dataclass(frozen=True)
class Outcome:
    """What was done, or would be."""

    action: str
    path: str
    reasons: Tuple[str, ...] = ()
    before: Tuple[str, ...] = ()
    after: Tuple[str, ...] = ()
    removed: Tuple[str, ...] = ()
    concealed: Tuple[str, ...] = ()
    client: str = ""

    @property
    def linked(self) -> List[str]:
        """What the environment has now and had not before."""
        return sorted(set(self.after) - set(self.before))

    @property
    def unlinked(self) -> List[str]:
        """What the environment had before and has no more."""
        return sorted(set(self.before) - set(self.after))


def converge(
    environment: Environment,
    request: Request,
    *,
    state: str,
    client: Callable[[], Client],
    pip: Callable[[], Pip],
    keep: int,
    check_mode: bool,
    in_use: bool = True,
) -> Outcome:
    """Make the environment as declared; ``client`` is called only when there is work for it. Raises CondaError.

    Unless it is to be ``in_use``, its version is built and the name goes on pointing to the last one.
    """

    def decide() -> Plan:
        plan = environment.plan(request, state=state)
        return plan if in_use or plan.action != "switch" else replace(plan, action="none", reasons=())

    plan = decide()
    leftover = environment.leftover()
    telling = environment.telling()
    if plan.action == "none" and not leftover and not telling:
        return Outcome(action="none", path=plan.path)
    standing = environment.before()
    before = tuple(_conda_prefix.listing(standing.path))
    if check_mode:
        after = tuple(_foresee(plan, standing, client))
        return Outcome(
            plan.action, plan.path, plan.reasons, before, after, (leftover,) if leftover else (), tuple(telling)
        )
    with environment.locked():
        environment.clear_leftover()
        telling = environment.telling()
        environment.conceal(telling)
        # What another run has finished while this one waited for it need not be done again.
        plan = decide()
        removed = [leftover] if leftover else []
        used = ""
        if plan.action == "build":
            tool = client()
            used = tool.executable
            environment.build(plan, declared=request, client=tool, pip=pip(), details={"client": used})
        if in_use and plan.action in ("build", "switch"):
            environment.switch(plan.path)
            removed += environment.prune(keep=keep, last=standing.path)
        if plan.action == "remove":
            environment.remove()
        _wheels.trim(environment.wheels)
    after = tuple(_conda_prefix.listing(environment.before().path if in_use else plan.path))
    return Outcome(plan.action, plan.path, plan.reasons, before, after, tuple(removed), tuple(telling), used)


def _foresee(plan: Plan, before: Before, client: Callable[[], Client]) -> List[str]:
    """Return the listing that the plan would end in: solved for where that takes a solver, else in its own words."""
    if plan.action in ("none", "switch"):
        return _conda_prefix.listing(plan.path)
    if plan.action == "remove":
        return []
    request = plan.request
    pip = foreseen(request, _conda_prefix.listing(before.path), before.contents.distributions)
    if request.lock:
        return [*sorted(locked.package.dist for locked in request.lock), *pip]
    tool = client()
    # On a machine that is bare as yet there is no client to ask.
    solved = (
        tool.create(plan.path, request, dry_run=True)
        if os.access(tool.executable, os.X_OK)
        else sorted(request.packages)
    )
    return [*solved, *pip]


def export(prefix: str, folder: str, *, pip: Callable[[], Pip], dry_run: bool) -> List[str]:
    """Write ``conda.lock`` and ``pip.lock`` for what is installed. Return the paths that change.

    Raises CondaError for a package of which no URL or no SHA-256 is known.
    """
    records = _conda_prefix.records(prefix)
    nameless = [record["name"] for record in records if not (record.get("url") and record.get("sha256"))]
    if nameless:
        raise CondaError(f"no URL or SHA-256 is on record for {', '.join(nameless)}", kind="packages")
    locked = [Locked(url=public(record["url"]), sha256=record["sha256"]) for record in records]
    subdirs = {record["subdir"] for record in records if record.get("subdir") != "noarch"}
    texts = {"conda.lock": render_lock(locked, platform=min(subdirs, default="noarch"))}
    pins = _conda_prefix.by_pip(prefix)
    known = locked_requirements(_text(os.path.join(folder, "pip.lock")))
    # The index is asked for hashes only when the lock at hand is not of what is installed.
    if pins and sorted(known) != sorted(f"{name}=={version}" for name, version in pins.items()):
        texts["pip.lock"] = "" if dry_run else pip().lock(prefix, pins)
    changed = [name for name, text in texts.items() if _text(os.path.join(folder, name)) != text or not text]
    if not dry_run:
        os.makedirs(folder, mode=0o755, exist_ok=True)
        for name in changed:
            _replace_file(os.path.join(folder, name), texts[name])
    return [os.path.join(folder, name) for name in changed]


def _verify(path: str, locked: Locked) -> None:
    """Compare the file that a package was linked from with its lock. Raises CondaError.

    The client is told the SHA-256 too; conda 26.7 takes a file from a local channel without looking at it, and writes
    the hash that it was told into its records.
    """
    archive = _conda_prefix.archive_of(path, locked.package)
    if not archive:
        return
    digest = hashlib.sha256()
    with open(archive, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    if digest.hexdigest() != locked.sha256:
        message = f"{archive} has the SHA-256 {digest.hexdigest()} and the lock says {locked.sha256} for {locked.url}"
        raise CondaError(message, kind="checksum", name="ChecksumMismatchError")


def _beyond_names(item: str) -> bool:
    """Return whether this is a pip requirement that says more than a name and versions."""
    return item.startswith(_conda_prefix.PIP) and re.search(r"[;@/]", item) is not None


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _replace_file(path: str, text: str) -> None:
    draft = f"{path}.new"
    with open(draft, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def _write_marker(path: str, marker: Mapping[str, Any]) -> None:
    """Write the marker once everything it vouches for is on the disk: it must not outlive its files in a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            raise CondaError(f"cannot write {path} to disk: {os.strerror(ctypes.get_errno())}", kind="disk")
    finally:
        os.close(descriptor)
    _replace_file(os.path.join(path, _conda_prefix.MARKER), json.dumps(marker, indent=1, sort_keys=True) + "\n")
    _sync_directory(path)


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_tree(path: str) -> None:
    if not os.path.lexists(path):
        return
    try:
        shutil.rmtree(path)
    except OSError as error:
        kind = "permission" if error.errno in (errno.EACCES, errno.EPERM) else "client"
        raise CondaError(f"cannot remove {path}: {error.strerror}", kind=kind) from error
