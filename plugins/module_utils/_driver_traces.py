# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The traces that NVIDIA's driver leaves on a machine: packages, library, DKMS, the running module.

Packages are read from the databases of dpkg and rpm themselves: no process, no lock, any tree.
"""

from __future__ import annotations

import re
import struct
from typing import Dict, Iterator, NamedTuple, Optional, Tuple

from ansible_collections.gpulab.workstation.plugins.module_utils._tree import Tree

_PREFIXES = ("nvidia", "libnvidia", "kmod-nvidia", "cuda-drivers", "linux-modules-nvidia", "libcuda1")

# EL 9 and 10 keep it in the first place, Fedora and image-based systems in the second.
_RPM_DATABASES = ("var/lib/rpm/rpmdb.sqlite", "usr/lib/sysimage/rpm/rpmdb.sqlite")
_RPM_QUERY = """
    SELECT blob FROM Packages
    WHERE hnum IN (SELECT hnum FROM Name WHERE key LIKE '%nvidia%' OR key LIKE 'cuda-drivers%')
"""
_RPM_NAME, _RPM_VERSION, _RPM_RELEASE = 1000, 1001, 1002


# Where distributions, NVIDIA's installer, the container toolkit and WSL put the libraries.
_LIBRARY_PLACES = (
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "usr/lib/x86_64-linux-gnu/nvidia/current",
    "usr/lib/wsl/lib",
    "usr/lib/wsl/drivers",
    "usr/local/nvidia/lib64",
)
_LIBRARY = "libnvidia-ml.so"


class Traces(NamedTuple):
    packages: Dict[str, str]
    library: Optional[str]
    others: bool

    @property
    def any(self) -> bool:
        return bool(self.packages or self.library or self.others)


def read_traces(tree: Tree) -> Traces:
    """Return what shows whether there is a driver at all: without it, nothing more has to be read."""
    running = tree.exists("sys/module/nvidia") or tree.exists("proc/driver/nvidia/version")
    dkms = any(name.startswith("nvidia") for name in tree.names("var/lib/dkms"))
    return Traces(installed_packages(tree), library_version(tree), others=running or dkms)


def library_version(tree: Tree) -> Optional[str]:
    """Return the version of the installed NVML library: the name of the file behind its links carries it."""
    for place in _LIBRARY_PLACES:
        version = tree.real_name(f"{place}/{_LIBRARY}.1")[len(_LIBRARY) + 1 :]
        if re.fullmatch(r"\d{3}(\.\d+)+", version):
            return version
    return None


def installed_packages(tree: Tree) -> Dict[str, str]:
    """Return the versions of the installed packages of NVIDIA's driver, by name."""
    status = tree.data("var/lib/dpkg/status")
    return _from_dpkg(status) if status is not None else _from_rpm(tree)


def _from_dpkg(status: bytes) -> Dict[str, str]:
    packages = {}
    for entry in _dpkg_entries(b"\n" + status):
        # "install ok installed": neither half-installed, nor removed with its configuration left behind.
        if entry.get("Status", "").endswith(" installed") and "Version" in entry:
            packages[entry["Package"]] = entry["Version"]
    return packages


def _dpkg_entries(status: bytes) -> Iterator[Dict[str, str]]:
    """The entries of interest, found by their first words: nothing else of a long file is looked at."""
    for prefix in _PREFIXES:
        start = status.find(b"\nPackage: " + prefix.encode())
        while start >= 0:
            end = status.find(b"\n\n", start)
            text = status[start + 1 : end if end >= 0 else None].decode("utf-8", "replace")
            pairs = (line.partition(": ") for line in text.split("\n"))
            yield {key: value.strip() for key, _colon, value in pairs}
            start = status.find(b"\nPackage: " + prefix.encode(), start + 1)


def _from_rpm(tree: Tree) -> Dict[str, str]:
    database = next((tree.path(place) for place in _RPM_DATABASES if tree.exists(place)), None)
    if database is None:
        return {}
    try:
        import sqlite3  # here: a Python without it is fine on a system without rpm
    except ImportError:
        return {}
    try:
        # immutable: no journal is written beside a database that may lie on a read-only image.
        connection = sqlite3.connect(f"file:{database}?mode=ro&immutable=1", uri=True)
    except sqlite3.Error:
        return {}
    try:
        rows = connection.execute(_RPM_QUERY)
        return dict(_rpm_packages(row[0] for row in rows))
    except sqlite3.Error:
        return {}
    finally:
        connection.close()


def _rpm_packages(headers: Iterator[bytes]) -> Iterator[Tuple[str, str]]:
    for header in headers:
        name, version, release = (rpm_tag(header, tag) for tag in (_RPM_NAME, _RPM_VERSION, _RPM_RELEASE))
        if name and version and name.startswith(_PREFIXES):
            yield name, f"{version}-{release}" if release else version


def rpm_tag(header: bytes, tag: int) -> Optional[str]:
    """Return a text of an rpm header: two counts, an index of (tag, type, offset, count), then the values."""
    try:
        entries, _size = struct.unpack_from(">II", header)
        for entry in range(entries):
            found, _kind, offset, _count = struct.unpack_from(">IIII", header, 8 + 16 * entry)
            if found == tag:
                start = 8 + 16 * entries + offset
                return header[start : header.index(b"\0", start)].decode("utf-8", "replace")
    except (struct.error, ValueError, TypeError):
        pass
    return None
