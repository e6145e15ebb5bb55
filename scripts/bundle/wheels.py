# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch wheels by the hashes of their locks, for another machine than this one."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement

from bundle.systems import System


def fetch_wheels(system: System, python: str, locks: Iterable[str], to: Path) -> None:
    """Fetch the wheels that the locks name for a version of Python on the system."""
    machine = {
        "sys_platform": "linux",
        "os_name": "posix",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(5, system.glibc + 1)]
    platforms += ["manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64", "linux_x86_64"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--dest", str(to)]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    command += [word for platform in platforms for word in ("--platform", platform)]
    for lock in locks:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
            wanted.write("\n".join(for_machine(lock, machine)))
            wanted.flush()
            subprocess.run([*command, "--requirement", wanted.name], check=True)


def for_machine(lock: str, machine: dict[str, str]) -> Iterator[str]:
    """The lines of a lock whose markers fit the machine, with their hashes and without the markers."""
    for line in re.sub(r"\\\s*\n", " ", lock).splitlines():
        text, *hashes = re.split(r"\s+--hash=", line)
        if not hashes:
            continue
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(machine):
            requirement.marker = None
            yield " ".join([str(requirement), *(f"--hash={value}" for value in hashes)])
