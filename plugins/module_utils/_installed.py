# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions of named packages are installed, by dpkg's own database or by rpm, and which of them are held."""

from __future__ import annotations

import os
import subprocess
from typing import Dict, Iterable, Iterator, Sequence, Set, Tuple


def package_versions(*, root: str = "/", names: Sequence[str]) -> Dict[str, str]:
    """Return ``{name: version}`` for those of ``names`` that are installed in the tree at ``root``."""
    if not names:
        return {}
    status = os.path.join(root, "var/lib/dpkg/status")
    if os.path.exists(status):
        with open(status, encoding="utf-8", errors="replace") as file:
            return parse_dpkg_status(file, names=names)
    return _ask_rpm(root=root, names=names)


def held_packages(*, root: str = "/", names: Sequence[str]) -> Set[str]:
    """Return those of ``names`` that upgrades leave alone in the tree at ``root``, by apt's holds or dnf's locks."""
    try:
        with open(os.path.join(root, "var/lib/dpkg/status"), encoding="utf-8", errors="replace") as file:
            return {name for name, status, _version in _dpkg_entries(file, names=names) if status.startswith("hold ")}
    except FileNotFoundError:
        pass
    try:
        with open(os.path.join(root, "etc/dnf/plugins/versionlock.list"), encoding="utf-8") as file:
            # A lock is such as ``nvidia-driver-3:580.95.05-1.el9.*``.
            return {line.rsplit("-", 2)[0] for line in file}.intersection(names)
    except FileNotFoundError:
        return set()


def parse_dpkg_status(lines: Iterable[str], *, names: Sequence[str]) -> Dict[str, str]:
    """Return the versions of the installed ones of ``names`` from the lines of ``/var/lib/dpkg/status``.

    A package that is half-installed, or removed with its configuration left behind, is not installed.
    """
    entries = _dpkg_entries(lines, names=names)
    return {name: version for name, status, version in entries if status.split()[-1] == "installed"}


def _dpkg_entries(lines: Iterable[str], *, names: Sequence[str]) -> Iterator[Tuple[str, str, str]]:
    """Yield name, status and version of each of ``names`` that dpkg has a version of."""
    wanted = set(names)
    name, status = "", ""
    for line in lines:
        if line.startswith("Package: "):
            name, status = line[9:].strip(), ""
        elif name in wanted:
            if line.startswith("Status: "):
                status = line[8:].strip()
            elif line.startswith("Version: ") and status:
                yield name, status, line[9:].strip()


def _ask_rpm(*, root: str, names: Sequence[str]) -> Dict[str, str]:
    command = ["rpm", "--root", os.path.abspath(root), "-q", "--qf", "%{NAME} %{EVR}\\n", *names]
    try:
        answer = subprocess.run(  # pylint: disable=ansible-bad-function # no module is at hand
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
        )
    except FileNotFoundError:
        return {}
    # rpm says "package x is not installed" on the lines of those that are not.
    pairs = (line.split() for line in answer.stdout.decode("utf-8", "replace").splitlines())
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and pair[0] in names}
