# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an environment should be, what it lacks, and what is to be done about it. Pure: nothing here touches a disk."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ansible_collections.gpulab.workstation.plugins.module_utils._addresses import without_secrets
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_prefix import KIND, PIP, SCHEMA, Contents
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_spec import (
    MatchSpec,
    Package,
    SpecError,
    requirement_holds,
    requirement_name,
)

EXPLICIT = "@EXPLICIT"
_LOCKED = re.compile(r"^(?P<url>\S+/(?P<dist>[^/\s#]+?)(?:\.conda|\.tar\.bz2))(?:#(?:sha256:)?(?P<hash>[0-9a-f]+))?$")
# Anaconda's servers take a token as a part of the path.
_TOKEN = re.compile(r"""(://[^\s"'\\]*?)/t/[^/\s"'\\]+(?=/)""")


def public(value: Any) -> Any:
    """Return ``value``, which is as in JSON, without the users, passwords and tokens of the addresses in it."""
    return json.loads(_TOKEN.sub(r"\1", json.dumps(without_secrets(value))))


class RequestError(Exception):
    """The declaration cannot be read, or contradicts itself."""


@dataclass(frozen=True)
class Locked:
    """One line of a lock: a package's URL and the SHA-256 of its file."""

    url: str
    sha256: str

    @property
    def package(self) -> Package:
        """The package that the URL's file name says it is."""
        match = _LOCKED.match(self.url)
        if not match:
            raise RequestError(f"not a package's URL: {self.url}")
        return Package.from_dist(match.group("dist"))

    def __str__(self) -> str:
        return f"{self.url}#{self.sha256}"


@dataclass(frozen=True)
class Request:
    """A declared environment."""

    channels: Tuple[str, ...] = ()
    packages: Tuple[str, ...] = ()
    pip_packages: Tuple[str, ...] = ()
    lock: Tuple[Locked, ...] = ()
    pip_lock: str = ""
    virtual_packages: Mapping[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The SHA-256 of the declaration.

        The order of packages does not count, that of channels does, and a new password is no new declaration.
        """
        said = public(dict(asdict(self), pip_lock=locked_requirements(self.pip_lock)))
        said.update({name: sorted(said[name], key=str) for name in ("packages", "pip_packages", "lock", "pip_lock")})
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    @property
    def locked(self) -> bool:
        """Whether anything in it is pinned by a lock, which is then the whole truth."""
        return bool(self.lock or self.pip_lock)

    @property
    def uses_pip(self) -> bool:
        """Whether there is something for pip to install."""
        return bool(self.pip_packages or self.pip_lock)

    def with_additions(self, *, packages: Mapping[str, str], pip_packages: Mapping[str, str]) -> Request:
        """Return this request plus what people have added themselves, where it does not name the same package."""
        declared = {MatchSpec.parse(spec).name for spec in self.packages}
        pip_declared = {requirement_name(requirement) for requirement in self.pip_packages}
        return replace(
            self,
            packages=self.packages + tuple(spec for name, spec in sorted(packages.items()) if name not in declared),
            pip_packages=self.pip_packages
            + tuple(f"{name}=={version}" for name, version in sorted(pip_packages.items()) if name not in pip_declared),
        )


def read_request(
    *,
    channels: Sequence[str] = (),
    packages: Sequence[str] = (),
    pip_packages: Sequence[str] = (),
    environment: Optional[Mapping[str, Any]] = None,
    lock: str = "",
    pip_lock: str = "",
    virtual_packages: Optional[Mapping[str, Any]] = None,
) -> Request:
    """Return the request that these options make together.

    Raises RequestError when one of them cannot be read, or when a lock is given beside what it locks.
    """
    more_channels, more_packages, more_pip = read_environment(environment or {})
    request = Request(
        channels=tuple(channels) or more_channels,
        packages=more_packages + tuple(packages),
        pip_packages=more_pip + tuple(pip_packages),
        lock=tuple(parse_lock(lock)) if lock else (),
        pip_lock=pip_lock,
        virtual_packages={name: str(value) for name, value in sorted((virtual_packages or {}).items())},
    )
    if request.lock and request.packages:
        raise RequestError("a lock names every conda package: declare packages, or give their lock, not both")
    if not (request.lock or request.packages):
        raise RequestError("an environment needs conda packages or a lock: at least python")
    if pip_lock and "--hash=" not in pip_lock:
        raise RequestError("the pip lock has no hashes: make it with 'uv pip compile --generate-hashes'")
    try:
        names = [MatchSpec.parse(spec).name for spec in request.packages]
    except SpecError as error:
        raise RequestError(str(error)) from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RequestError(f"declared twice: {', '.join(twice)}")
    if request.uses_pip and not request.lock and "python" not in names:
        raise RequestError("pip packages need a Python: declare it among the conda packages")
    return request


def read_environment(document: Mapping[str, Any]) -> Tuple[Tuple[str, ...], Tuple[str, ...], Tuple[str, ...]]:
    """Return channels, conda packages and pip packages of a parsed environment.yml. Its name and prefix do not count.

    Raises RequestError for an entry that this module would have to ignore.
    """
    unknown = sorted(set(document) - {"name", "prefix", "channels", "dependencies"})
    if unknown:
        raise RequestError(f"environment.yml: cannot honour {', '.join(unknown)}")
    packages: List[str] = []
    pip_packages: List[str] = []
    for entry in document.get("dependencies") or []:
        if isinstance(entry, str):
            packages.append(entry)
        elif isinstance(entry, Mapping) and set(entry) == {"pip"}:
            pip_packages += [str(requirement) for requirement in entry["pip"]]
        else:
            raise RequestError(f"environment.yml: cannot read the dependency {entry!r}")
    options = [requirement for requirement in pip_packages if requirement.startswith("-")]
    if options:
        raise RequestError(f"environment.yml: pip options are not requirements: {', '.join(options)}")
    return tuple(str(channel) for channel in document.get("channels") or []), tuple(packages), tuple(pip_packages)


def parse_lock(text: str) -> List[Locked]:
    """Return the packages of a lock as ``conda list --explicit --sha256`` writes it.

    Raises RequestError for a line that is not an URL with a SHA-256: an unchecked download is not a lock.
    """
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines or lines[0] != EXPLICIT:
        raise RequestError(f"not a lock: the line {EXPLICIT} is missing; make it with 'conda list --explicit --sha256'")
    locked = []
    for line in lines[1:]:
        match = _LOCKED.match(line)
        if not match:
            raise RequestError(f"not a package's URL in the lock: {line}")
        if len(match.group("hash") or "") != 64:
            raise RequestError(f"no SHA-256 in the lock for {match.group('url')}: use 'conda list --explicit --sha256'")
        locked.append(Locked(url=match.group("url"), sha256=match.group("hash")))
    return locked


def render_lock(locked: Sequence[Locked], *, platform: str) -> str:
    """Return the lock as a file that conda, mamba, micromamba and this module read."""
    return "\n".join([f"# platform: {platform}", EXPLICIT, *(str(entry) for entry in locked)]) + "\n"


def locked_requirements(text: str) -> List[str]:
    """Return the requirements of a pip lock, without their hashes, comments and options."""
    joined = re.sub(r"\\\s*\n", " ", text)
    lines = (re.sub(r"\s+--hash=\S+", "", line).partition(" #")[0].strip() for line in joined.splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def unmet(request: Request, contents: Contents, *, channel_of: Callable[[Package], str]) -> List[str]:
    """Return what ``request`` declares and the environment lacks, in the words of the declaration."""
    lacking = [locked.package.dist for locked in request.lock if locked.package not in contents.packages]
    for text in request.packages:
        spec = MatchSpec.parse(text)
        package = contents.find(spec)
        if package is None or (spec.channel and not _same_channel(spec.channel, channel_of(package))):
            lacking.append(public(text))
    for requirement in [*request.pip_packages, *locked_requirements(request.pip_lock)]:
        holds = requirement_holds(requirement, contents.distributions)
        if holds is None:
            holds = _as_built(requirement, request, contents)
        if not holds:
            lacking.append(f"{PIP}{public(requirement)}")
    return lacking


def _as_built(requirement: str, request: Request, contents: Contents) -> bool:
    """Return whether pip had this requirement when it built the environment, and what it made of it is still there."""
    marker = contents.marker or {}
    name = requirement_name(requirement)
    recorded = marker.get("distributions", {})
    return marker.get("digest") == request.digest and recorded.get(name) == contents.distributions.get(name)


def foreseen(request: Request, before: Sequence[str], distributions: Mapping[str, str]) -> List[str]:
    """Return the pip lines of a listing as they will be, as far as that is known without solving.

    A requirement that holds keeps its version, one that does not stands in its own words, and what pip brought along
    stays as it is.
    """
    requirements = [*request.pip_packages, *locked_requirements(request.pip_lock)]
    lacking = [text for text in requirements if not requirement_holds(text, distributions)]
    replaced = {requirement_name(text) for text in lacking}
    kept = [line for line in before if line.startswith(PIP) and requirement_name(line[len(PIP) :]) not in replaced]
    return kept + [f"{PIP}{text}" for text in lacking]


def _same_channel(wanted: str, found: str) -> bool:
    wanted, found = public(wanted).rstrip("/"), re.sub(r"/(noarch|linux-[^/]+)(/.*)?$", "", public(found).rstrip("/"))
    return found == wanted or found.endswith(f"/{wanted}")


@dataclass(frozen=True)
class Before:
    """An environment's name as it stands: absent, a link to a version, or a directory that someone else made."""

    kind: str  # absent, link, directory, other
    path: str = ""
    contents: Contents = field(default_factory=Contents)


@dataclass(frozen=True)
class Plan:
    """What is to be done: nothing, build a version, switch to one that is there, or remove them all."""

    action: str  # none, build, switch, remove
    path: str = ""
    reasons: Tuple[str, ...] = ()
    request: Request = field(default_factory=Request)


def drift(request: Request, before: Before, *, state: str, channel_of: Callable[[Package], str]) -> List[str]:
    """Return why the environment as it stands is not the declared one; empty when it is."""
    if before.kind == "absent":
        return ["there is no such environment"]
    contents = before.contents
    if before.kind == "link" and contents.marker is None:
        return ["its completion marker is missing"]
    if state == "exact" and contents.marker is None:
        return ["it was not built by this module, so what it should hold exactly is not known"]
    if state == "exact" and contents.marker and contents.marker.get("digest") != request.digest:
        return ["the declaration has changed"]
    if state == "exact" and not contents.intact():
        return ["packages were added, changed or removed since it was built"]
    return [f"it lacks {item}" for item in unmet(request, contents, channel_of=channel_of)]


def additions(
    request: Request, contents: Contents, *, requested: Mapping[str, str], by_pip: Mapping[str, str]
) -> Request:
    """Return ``request`` with what people added to the environment since it was built, to be kept in the next version.

    With a lock nothing is added: the lock is the whole truth.
    """
    marker = contents.marker or {}
    declared = {MatchSpec.parse(spec).name for spec in marker.get("request", {}).get("packages", [])}
    ours = marker.get("distributions", {})
    if request.locked:
        return request
    return request.with_additions(
        packages={name: spec for name, spec in requested.items() if name not in declared},
        pip_packages={name: version for name, version in by_pip.items() if name not in ours},
    )


def compose_marker(
    *, prefix: str, request: Request, built_from: str, contents: Contents, details: Mapping[str, Any]
) -> Dict[str, Any]:
    """Return the marker that says of a version: complete, from this declaration, with these packages.

    Everyone can read it.
    """
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "prefix": prefix,
        "digest": request.digest,
        "built_from": built_from,
        "request": public(
            {
                "channels": list(request.channels),
                "packages": list(request.packages),
                "pip_packages": list(request.pip_packages),
                "locked": request.locked,
                "virtual_packages": dict(request.virtual_packages),
            }
        ),
        "packages": sorted(package.dist for package in contents.packages),
        "distributions": dict(contents.distributions),
        "details": dict(details),
    }
