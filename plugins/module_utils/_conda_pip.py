# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pip step of an environment: by uv where there is one or its lock is given, else by the environment's own pip."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass, replace
from typing import Dict, List, Mapping, Optional, Sequence

from ansible_collections.gpulab.workstation.plugins.module_utils import _wheels
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_client import CondaError, run
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_plan import locked_requirements
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_spec import normalized

# The files that pip reads, the weakest first.
PIP_FILES = ("/etc/xdg/pip/pip.conf", "/etc/pip.conf", "~/.pip/pip.conf", "~/.config/pip/pip.conf")

# pip's settings that decide where packages come from, uv's names for them, and what stands between two values there.
_SETTINGS = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "proxy": ("ALL_PROXY", " "),
    "cert": ("SSL_CERT_FILE", " "),
}

# How pip writes yes; uv has no variable for its option --no-index.
_TRUE = ("1", "true", "yes", "on", "y", "t")

_KINDS = (
    ("disk", re.compile(r"No space left on device", re.I)),
    (
        "checksum",
        re.compile(r"hash mismatch|do not match the hashes|hashes are required|--require-hashes|extract archive", re.I),
    ),
    (
        "network",
        re.compile(r"connection|resolve|timed? ?out|SSL|failed to fetch|error sending request|dns error", re.I),
    ),
    ("sources", re.compile(r"no usable wheels|building (source distributions|from source) is disabled", re.I)),
    ("packages", re.compile(r"no matching distribution|no solution found|was not found in", re.I)),
    ("permission", re.compile(r"permission denied", re.I)),
)


@dataclass(frozen=True)
class Pip:
    """An installer of Python distributions: uv at ``uv``, else uv from ``uv_lock`` while it is needed, else pip.

    Unless ``only_binary`` is false, what would have to be built is refused, for it would run its author's code as this
    user.
    ``wheels`` is a folder beside the environments in which uv keeps for the next one what it fetches (see _wheels);
    without it nothing is kept.
    """

    uv: str = ""
    uv_lock: str = ""
    wheels: str = ""
    index_url: str = ""
    only_binary: bool = True

    @property
    def name(self) -> str:
        """uv or pip."""
        return "uv" if self.uv else "pip"

    def install(self, prefix: str, *, packages: Sequence[str], lock: str = "", lock_fd: Optional[int] = None) -> None:
        """Install a lock by its hashes, then packages that leave the locked versions alone. Raises CondaError."""
        # Not in /tmp, from which some machines run nothing.
        with tempfile.TemporaryDirectory(dir=prefix) as scratch:
            if self.uv_lock and not self.uv:
                uv = self._borrow_uv(prefix, scratch, lock_fd=lock_fd)
                replace(self, uv=uv).install(prefix, packages=packages, lock=lock, lock_fd=lock_fd)
                return
            locked, wanted, fixed = (os.path.join(scratch, name) for name in ("locked.txt", "wanted.txt", "fixed.txt"))
            texts = {locked: lock, wanted: "\n".join(packages), fixed: "\n".join(locked_requirements(lock))}
            for path, text in texts.items():
                with open(path, "w", encoding="utf-8") as file:
                    file.write(f"{text}\n")
            # All users of the machine import from here and few may write: the bytecode is made now.
            command = [*self._command(prefix, "install"), "--compile-bytecode" if self.uv else "--compile"]
            with _wheels.held(self.wheels if self.uv else "") as wheels:
                # Beside what it makes, so that files are linked and not copied.
                command += ["--cache-dir", wheels or os.path.join(scratch, "cache")] if self.uv else []
                if lock:
                    self._run([*command, "--require-hashes", "-r", locked], lock_fd=lock_fd)
                if packages:
                    self._run([*command, "-r", wanted, "-c", fixed], lock_fd=lock_fd)
            if self.uv:
                _close_uv_lock(prefix)

    def lock(self, prefix: str, distributions: Mapping[str, str]) -> str:
        """Return a lock with the hashes that the index has for these distributions. Raises CondaError."""
        pins = "".join(f"{name}=={version}\n" for name, version in sorted(distributions.items()))
        if self.uv:
            asked = ["--no-deps", "--no-header", "--no-annotate", "--generate-hashes", "-"]
            lock = self._run([*self._command(prefix, "compile"), *asked], stdin=pins)
            # Of a file in a folder (find-links) uv tells no hash; pip takes one.
            return lock if _hashed(lock) else replace(self, uv="").lock(prefix, distributions)
        with tempfile.TemporaryDirectory() as scratch:
            path = os.path.join(scratch, "requirements.txt")
            with open(path, "w", encoding="utf-8") as file:
                file.write(pins)
            asked = ["--dry-run", "--ignore-installed", "--no-deps", "--report", "-", "-r", path]
            return render_report(self._run([*self._command(prefix, "install"), *asked]))

    def _borrow_uv(self, prefix: str, scratch: str, *, lock_fd: Optional[int]) -> str:
        """Let the environment's pip put the locked uv into ``scratch``. Return its path."""
        lock, folder = os.path.join(scratch, "uv.txt"), os.path.join(scratch, "uv")
        with open(lock, "w", encoding="utf-8") as file:
            file.write(self.uv_lock)
        command = replace(self, only_binary=True)._command(prefix, "install")
        locked = ["--require-hashes", "--requirement", lock]
        self._run([*command, "--no-compile", "--target", folder, *locked], lock_fd=lock_fd)
        return os.path.join(folder, "bin", "uv")

    def _command(self, prefix: str, verb: str) -> List[str]:
        python = os.path.join(prefix, "bin", "python")
        wheels = ["--only-binary", ":all:"] if self.only_binary else []
        if self.uv:
            alone = ["--no-index"] if pip_setting("no-index", os.environ).lower() in _TRUE else []
            return [self.uv, "pip", verb, "--quiet", "--python", python, *alone, *wheels]
        return [python, "-m", "pip", verb, "--quiet", "--no-input", "--disable-pip-version-check", *wheels]

    def _run(self, command: Sequence[str], *, lock_fd: Optional[int] = None, stdin: str = "") -> str:
        variables = dict(os.environ)
        if self.uv:
            variables = {**pip_settings(os.environ), **variables, "UV_NO_CONFIG": "1"}
        if self.index_url:
            variables["UV_DEFAULT_INDEX" if self.uv else "PIP_INDEX_URL"] = self.index_url
        answer = run(command, environment=variables, lock_fd=lock_fd, stdin=stdin)
        if answer.code != 0:
            said = answer.stderr.strip() or answer.stdout.strip() or f"it ended with status {answer.code}"
            kind = next((kind for kind, pattern in _KINDS if pattern.search(said)), "client")
            raise CondaError(f"{self.name}: {said[-2000:]}", kind=kind)
        return answer.stdout


def find_uv(executable: str, *, beside: str = "") -> str:
    """Return the uv to use: the one named, else the one beside the conda client, else the first on the path."""
    if executable:
        return executable
    local = os.path.join(beside, "bin", "uv")
    return local if os.access(local, os.X_OK) else shutil.which("uv") or ""


def pip_setting(name: str, variables: Mapping[str, str], *, files: Sequence[str] = PIP_FILES) -> str:
    """Return what pip is configured with for its option ``--name``; empty where it is not."""
    parser = configparser.RawConfigParser()
    own = variables.get("PIP_CONFIG_FILE")
    parser.read([os.path.expanduser(path) for path in [*files, *([own] if own else [])]], encoding="utf-8")
    value = variables.get(f"PIP_{name.replace('-', '_').upper()}", "")
    for section in ("install", "global"):
        value = value or parser.get(section, name, fallback="")
    return value


def pip_settings(variables: Mapping[str, str], *, files: Sequence[str] = PIP_FILES) -> Dict[str, str]:
    """Return what pip is configured with as uv's variables: uv reads none of pip's, and a mirror is set there."""
    found: Dict[str, str] = {}
    for setting, (uv_name, between) in _SETTINGS.items():
        value = pip_setting(setting, variables, files=files)
        if value:
            found[uv_name] = between.join(value.split())
    if found:
        # pip takes the best version of all indexes, uv by default the first index that knows the name.
        found["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return found


def _close_uv_lock(prefix: str) -> None:
    """Take from others the right to write the file by which uv keeps a second uv out of an environment."""
    path = os.path.join(prefix, ".lock")
    if os.path.exists(path):
        os.chmod(path, 0o644)


def _hashed(lock: str) -> bool:
    lines = re.sub(r"\\\s*\n", " ", lock).splitlines()
    return all("--hash=" in line for line in lines if line.strip())


def render_report(report: str) -> str:
    """Return pip's installation report as a lock."""
    lines = []
    for item in json.loads(report)["install"]:
        name, version = normalized(item["metadata"]["name"]), item["metadata"]["version"]
        hashes = item["download_info"].get("archive_info", {}).get("hashes", {})
        lines.append(f"{name}=={version} \\\n    --hash=sha256:{hashes['sha256']}")
    return "\n".join(sorted(lines)) + "\n"
