# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The systems that a bundle can be made for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class System:
    """A release of a distribution, on x86_64.

    Attributes:
        id: What its os-release calls it; with ``version`` its name here.
        version: Its version there.
        python: The version of its own interpreter.
        glibc: The minor version of its C library.
        suites: The suites of its archives, by the archive's folder.
        parts: The parts of the archives, as apt's sources name them.
        keyring: The file with the keys that sign the archives.
    """

    id: str
    version: str
    python: str
    glibc: int
    suites: dict[str, tuple[str, ...]]
    parts: tuple[str, ...]
    keyring: Path

    @property
    def name(self) -> str:
        return f"{self.id}-{self.version}"

    @property
    def facts(self) -> dict[str, str]:
        """The machine as this collection's modules would read it."""
        facts = {"id": self.id, "version": self.version, "family": "debian", "architecture": "x86_64"}
        return {**facts, "name": f"{self.id.title()} {self.version}"}


def _debian(version: str, suite: str, python: str, glibc: int) -> System:
    suites = {"debian": (suite, f"{suite}-updates"), "debian-security": (f"{suite}-security",)}
    parts = ("main", "contrib", "non-free", "non-free-firmware")
    return System("debian", version, python, glibc, suites, parts, _keyring("debian"))


def _ubuntu(version: str, suite: str, python: str, glibc: int) -> System:
    suites = {"ubuntu": (suite, f"{suite}-updates", f"{suite}-security")}
    parts = ("main", "universe", "restricted", "multiverse")
    return System("ubuntu", version, python, glibc, suites, parts, _keyring("ubuntu"))


def _keyring(distribution: str) -> Path:
    return Path(f"/usr/share/keyrings/{distribution}-archive-keyring.gpg")


SYSTEMS = {
    system.name: system
    for system in (
        _debian("12", "bookworm", "3.11", 36),
        _debian("13", "trixie", "3.13", 41),
        _ubuntu("22.04", "jammy", "3.10", 35),
        _ubuntu("24.04", "noble", "3.12", 39),
    )
}
