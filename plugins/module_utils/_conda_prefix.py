# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in an environment, read from the environment's own files: no conda, no Python of that environment."""

from __future__ import annotations

import ast
import glob
import json
import os
import re
from dataclasses import dataclass, field
from typing import Any, Dict, FrozenSet, List, Optional, Tuple

from ansible_collections.gpulab.workstation.plugins.module_utils._conda_spec import (
    MatchSpec,
    Package,
    SpecError,
    normalized,
)

MARKER = "gpulab-env.json"
SCHEMA = 1
KIND = "conda"
# How a line of a listing or of a complaint begins that is about a Python distribution.
PIP = "pip: "


@dataclass(frozen=True)
class Contents:
    """The packages and Python distributions of one environment."""

    packages: FrozenSet[Package] = frozenset()
    distributions: Dict[str, str] = field(default_factory=dict)
    marker: Optional[Dict[str, Any]] = None

    def find(self, spec: MatchSpec) -> Optional[Package]:
        """Return the installed package that satisfies ``spec``."""
        return next((package for package in self.packages if spec.matches(package)), None)

    def intact(self) -> bool:
        """Return whether exactly what was there when the marker was written is there."""
        return (
            self.marker is not None
            and self.marker.get("packages") == sorted(package.dist for package in self.packages)
            and self.marker.get("distributions") == self.distributions
        )


def is_environment(prefix: str) -> bool:
    """Return whether conda would call this directory an environment."""
    return os.path.isfile(os.path.join(prefix, "conda-meta", "history"))


def read(prefix: str) -> Contents:
    """Return what is in the environment at ``prefix``; nothing when it does not exist.

    The names of the files say enough: a record is called ``name-version-build.json``, and a distribution
    ``name-version.dist-info``. So this costs a directory listing, not the parsing of megabytes of records.
    """
    return Contents(packages=_packages(prefix), distributions=_distributions(prefix), marker=read_marker(prefix))


def read_marker(prefix: str) -> Optional[Dict[str, Any]]:
    """Return the marker that is written last into an environment, or None when it is not complete."""
    try:
        with open(os.path.join(prefix, MARKER), encoding="utf-8") as file:
            marker = json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    ours = isinstance(marker, dict) and marker.get("schema") == SCHEMA and marker.get("kind") == KIND
    return marker if ours else None


def channel_of(prefix: str, package: Package) -> str:
    """Return the channel that the record of an installed package names, as a URL or a name."""
    record = _record(prefix, package)
    return str(record.get("channel") or record.get("url") or "")


def archive_of(prefix: str, package: Package) -> str:
    """Return the file in a client's cache that an installed package was unpacked from; empty when it is gone."""
    archive = _record(prefix, package).get("package_tarball_full_path") or ""
    return archive if os.path.isfile(archive) else ""


def records(prefix: str) -> List[Dict[str, Any]]:
    """Return conda's whole record of every package in the environment, by name."""
    return [_record(prefix, package) for package in sorted(_packages(prefix), key=lambda package: package.name)]


def damaged(prefix: str) -> List[Dict[str, Any]]:
    """Return the records of packages whose files are not all there at full size.

    A client that was killed while it unpacked can leave half a package in its cache, and links that half next time.
    """
    site_packages = next((os.path.relpath(path, prefix) for path in _site_packages(prefix)), "")
    return [record for record in records(prefix) if not _files_sound(prefix, record, site_packages)]


def requested(prefix: str) -> Dict[str, str]:
    """Return the match specs that people asked for in this environment, by package name, from conda's history."""
    specs: Dict[str, str] = {}
    try:
        with open(os.path.join(prefix, "conda-meta", "history"), encoding="utf-8", errors="replace") as file:
            lines = [line for line in file if line.startswith("# ") and " specs: " in line]
    except FileNotFoundError:
        return specs
    for line in lines:
        action, _mark, text = line[2:].partition(" specs: ")
        try:
            listed = [str(spec) for spec in ast.literal_eval(text.strip())]
            by_name = {MatchSpec.parse(spec).name: spec for spec in listed}
        except (ValueError, SyntaxError, TypeError, SpecError):
            continue
        for name, spec in by_name.items():
            specs.pop(name, None)
            if action in ("update", "install", "create"):
                specs[name] = spec
    return specs


def by_pip(prefix: str, *, only_requested: bool = False) -> Dict[str, str]:
    """Return the distributions that no conda package owns: ``{name: version}``.

    With ``only_requested`` those that someone named, without what came along as their dependencies.
    """
    ending = ".dist-info/METADATA"
    files = (file for record in records(prefix) for file in record.get("files", []) if file.endswith(ending))
    owned = {os.path.basename(os.path.dirname(file)) for file in files}
    found = [info for info in _dist_infos(prefix) if os.path.basename(info) not in owned]
    if only_requested:
        found = [info for info in found if os.path.exists(os.path.join(info, "REQUESTED"))]
    return {name: version for name, version in sorted(map(_name_and_version, found)) if name}


def listing(prefix: str) -> List[str]:
    """Return the environment as the lines of a diff: conda's packages, then what pip put there."""
    pip = [f"{PIP}{name}=={version}" for name, version in by_pip(prefix).items()]
    return sorted(package.dist for package in _packages(prefix)) + pip


def _packages(prefix: str) -> FrozenSet[Package]:
    try:
        names = os.listdir(os.path.join(prefix, "conda-meta"))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
    dists = [name[: -len(".json")] for name in names if name.endswith(".json")]
    # conda keeps a few files of its own there, such as pinned specs and the state of the environment.
    return frozenset(Package.from_dist(dist) for dist in dists if dist.count("-") >= 2)


def _distributions(prefix: str) -> Dict[str, str]:
    pairs = (_name_and_version(info) for info in _dist_infos(prefix))
    return {name: version for name, version in sorted(pairs) if name}


def _dist_infos(prefix: str) -> List[str]:
    return [
        info for path in _site_packages(prefix) for info in glob.glob(os.path.join(glob.escape(path), "*.dist-info"))
    ]


def _site_packages(prefix: str) -> List[str]:
    found = glob.glob(os.path.join(glob.escape(prefix), "lib", "python3*", "site-packages"))
    # conda's Python package may add lib/python3.1 as a link for tools that cut the version short.
    return [path for path in found if not os.path.islink(os.path.dirname(path))]


def _name_and_version(dist_info: str) -> Tuple[str, str]:
    name, _hyphen, version = os.path.basename(dist_info)[: -len(".dist-info")].rpartition("-")
    return normalized(name), version


def _record(prefix: str, package: Package) -> Dict[str, Any]:
    with open(os.path.join(prefix, "conda-meta", f"{package.dist}.json"), encoding="utf-8") as file:
        return json.load(file)


def _files_sound(prefix: str, record: Dict[str, Any], site_packages: str) -> bool:
    for entry in record.get("paths_data", {}).get("paths", []):
        if entry.get("path_type") not in ("hardlink", "softlink"):
            # Bytecode, entry points and menus are made on the spot, each client in its own way.
            continue
        relative = entry["_path"]
        if record.get("noarch") == "python":
            # conda records where the file lies in the package, mamba and rattler where they put it.
            relative = re.sub("^site-packages", site_packages, re.sub("^python-scripts", "bin", relative))
        try:
            found = os.lstat(os.path.join(prefix, relative)).st_size
        except FileNotFoundError:
            return False
        size = entry.get("size_in_bytes")
        # A file with the prefix written into it has a size of its own.
        fixed = entry["path_type"] == "hardlink" and not entry.get("prefix_placeholder")
        if fixed and size is not None and found != size:
            return False
    return True
