# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a stack has to fit, read from files alone: distribution, its sources of packages, C library, compiler,
interpreters, memory and disk.

No process is started, so that an image mounted somewhere is read by the same code as the running machine.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
import stat
from typing import Any, Dict, List, Optional, Sequence, Tuple

from ansible_collections.gpulab.workstation.plugins.module_utils._foreign_sources import foreign_sources
from ansible_collections.gpulab.workstation.plugins.module_utils._tree import Tree
from ansible_collections.gpulab.workstation.plugins.module_utils._writers import others_may_change

# Where the stack takes room.
PLACES = ("/", "/opt", "/usr", "/var", "/tmp")

_GLIBC_BANNER = re.compile(rb"GNU C Library [^\n]*?version (\d+\.\d+)")
_FAMILIES = {"debian": "debian", "ubuntu": "debian", "rhel": "redhat", "fedora": "redhat", "centos": "redhat"}


def read_system(*, root: str = "/", places: Sequence[str] = PLACES) -> Dict[str, Any]:
    """Return what the tree at ``root`` is, and of ``places`` the free space (MiB) and who may change them.

    What cannot be read is None. A place that is yet to be made counts as its nearest parent.
    """
    release = _os_release(root)
    identity = release.get("ID", "")
    nearest = {place: _nearest(os.path.join(root, place.lstrip("/"))) for place in places}
    return {
        "id": identity,
        "version": release.get("VERSION_ID", ""),
        "codename": release.get("VERSION_CODENAME", ""),
        "name": release.get("PRETTY_NAME", identity),
        "family": _family([identity, *release.get("ID_LIKE", "").split()]),
        "architecture": os.uname().machine,
        "kernel": os.uname().release,
        "glibc": _glibc(root),
        "gcc": _gcc(root),
        "pythons": _pythons(root),
        "cpu": _cpu(),
        "memory_mib": _memory_mib(),
        "foreign_sources": foreign_sources(root=root),
        "free_mib": {place: _free_mib(found) for place, found in nearest.items()},
        "unwritable": [place for place, found in nearest.items() if not os.access(found, os.W_OK)],
        "others_may_change": {place: others_may_change(place, root=root) for place in places},
    }


def parse_os_release(text: str) -> Dict[str, str]:
    """Return the assignments of an os-release file (quoting as in os-release(5))."""
    values: Dict[str, str] = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            try:
                values[name] = " ".join(shlex.split(value))
            except ValueError:
                continue
    return values


def _os_release(root: str) -> Dict[str, str]:
    for place in ("etc/os-release", "usr/lib/os-release"):
        text = _read(os.path.join(root, place))
        if text is not None:
            return parse_os_release(text)
    return {}


def _family(identities: Sequence[str]) -> str:
    return next((_FAMILIES[identity] for identity in identities if identity in _FAMILIES), "other")


def _glibc(root: str) -> Optional[str]:
    # Debian and Ubuntu keep it by architecture, EL in lib64.
    for pattern in ("usr/lib/*-linux-gnu/libc.so.6", "usr/lib64/libc.so.6", "lib/*-linux-gnu/libc.so.6"):
        for path in glob.glob(os.path.join(root, pattern)):
            with open(path, "rb") as file:
                banner = _GLIBC_BANNER.search(file.read())
            if banner:
                return banner.group(1).decode()
    return None


def _gcc(root: str) -> Optional[str]:
    """Return the version of the newest gcc: the directory of its own files carries it."""
    if not os.path.lexists(os.path.join(root, "usr/bin/gcc")):
        return None
    compilers = [path for place in ("lib", "libexec") for path in glob.glob(f"{root}/usr/{place}/gcc/*/*/cc1")]
    versions = [os.path.basename(os.path.dirname(path)) for path in compilers]
    return max(versions, key=_numbers) if versions else None


def _pythons(root: str) -> List[Dict[str, str]]:
    """Return the interpreters that every user of the machine can run, oldest first."""
    tree = Tree(root)
    found = {}
    for place in ("usr/local/bin", "usr/bin"):
        for name in tree.names(place):
            version = name[len("python") :]
            if re.fullmatch(r"python3\.\d+", name) and _everyone_may_run(tree, f"{place}/{name}"):
                found[version] = {"path": f"/{place}/{name}", "version": version}
    return [found[version] for version in sorted(found, key=_numbers)]


def _everyone_may_run(tree: Tree, path: str) -> bool:
    """Return whether all users can start a program: what a link leads to may lie where only its owner goes."""
    here = os.path.realpath(tree.path(path))
    try:
        while here not in (tree.root, "/"):
            if not os.stat(here).st_mode & stat.S_IXOTH:
                return False
            here = os.path.dirname(here)
    except OSError:
        return False
    return True


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _cpu() -> Dict[str, Any]:
    model = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo") or "", re.MULTILINE)
    return {"model": model.group(1) if model else None, "cores": len(os.sched_getaffinity(0))}


def _memory_mib() -> Optional[int]:
    total = re.search(r"^MemTotal:\s+(\d+) kB$", _read("/proc/meminfo") or "", re.MULTILINE)
    return int(total.group(1)) // 1024 if total else None


def _nearest(path: str) -> str:
    """Return where ``path`` is, or will be: for a directory that is to be made its nearest parent."""
    while not os.path.exists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path


def _free_mib(path: str) -> Optional[int]:
    try:
        space = os.statvfs(path)
    except OSError:
        return None
    return space.f_bavail * space.f_frsize // (1 << 20)


def _read(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None
