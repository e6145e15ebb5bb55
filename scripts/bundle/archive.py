# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch packages with all they depend on, and lay them out as in their archives, under the archives' own signatures."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.gpulab.workstation.plugins.module_utils._files import write_text
from ansible_collections.gpulab.workstation.plugins.module_utils._nvidia_repository import APT_SOURCE
from ansible_collections.gpulab.workstation.plugins.module_utils._package_managers import Apt
from ansible_collections.gpulab.workstation.plugins.module_utils._packages import Request, plan_present

from bundle.files import download
from bundle.systems import System


@dataclass(frozen=True)
class Archive:
    """An archive: the folder it ends in, where it is, its suites."""

    folder: str
    address: str
    suites: tuple[str, ...]


def own_archives() -> list[str]:
    """Where this machine's apt fetches from."""
    listed = subprocess.check_output(["apt-get", "indextargets", "--format", "$(REPO_URI)"], text=True)
    return sorted({address.rstrip("/") for address in listed.split()})


class BareMachine:
    """A machine with the archives' indexes and not one package: what it would fetch, no machine of the system lacks."""

    def __init__(self, root: Path, system: System, archives: Sequence[Archive]) -> None:
        self._root, self._system, self._archives = root, system, archives
        self._fetched: dict[str, str] = {}
        self._lists, self._cache = root / "var/lib/apt/lists", root / "var/cache/apt"
        for folder in (self._lists / "partial", self._cache / "archives/partial", root / "var/lib/dpkg"):
            folder.mkdir(parents=True)
        (root / "var/lib/dpkg/status").touch()
        self._sources(root / "etc/apt/sources.list", {archive.folder: archive.address for archive in archives})
        # All else, such as a proxy, is as this machine's apt has it.
        (root / "apt.conf").write_text(
            f'Dir::State "{root}/var/lib/apt";\n'
            f'Dir::State::status "{root}/var/lib/dpkg/status";\n'
            f'Dir::Cache "{self._cache}";\n'
            f'Dir::Etc::SourceList "{root}/etc/apt/sources.list";\n'
            'Dir::Etc::SourceParts "/dev/null";\n'
            f'Dir::Etc::PreferencesParts "{root}/etc/apt/preferences.d";\n'
            'APT::Architecture "amd64";\n'
            'APT::Architectures { "amd64"; };\n'
            'APT::Sandbox::User "root";\n'
            'Acquire::Languages "none";\n'
        )
        self._apt("-o", "APT::Update::Error-Mode=any", "update")

    def fetch(self, request: Request) -> None:
        """Fetch the packages of which the role's module would make the set, in those versions.

        Raises:
            PackageError: No archive offers them.
        """
        manager = Apt(run=self._run, root=str(self._root))
        plan = plan_present(request=request, found=manager.find(request))
        for path, text in manager.files(request=request, plan=plan, hold=False).items():
            write_text(path, text)
        wanted = ["install", *(f"{name}={version}" for name, version in plan.install.items())]
        self._fetched.update(re.findall(r"(?m)^'([^']+)' (\S+)", self._apt("--print-uris", *wanted)))
        self._apt("--download-only", *wanted)

    def lay_out(self, to: Path, place: str) -> None:
        """Lay out what was fetched, and write what makes a machine's apt use it at ``place``."""
        for archive in self._archives:
            for suite in archive.suites:
                self._lay_out_indexes(archive, suite, to / archive.folder / "dists" / suite)
            for address, name in self._fetched.items():
                if address.startswith(f"{archive.address}/"):
                    target = to / archive.folder / urllib.parse.unquote(address[len(archive.address) + 1 :])
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.move(self._cache / "archives" / name, target)
        # The machines check the makers' signatures, but not how long they are to last: the lab is offline.
        folders = {archive.folder: f"file:{place}/{archive.folder}" for archive in self._archives}
        self._sources(to / "sources.list.d/archives.list", folders, "check-valid-until=no ")
        (to / "apt.conf").write_text(
            f'Dir::Etc::SourceParts "{place}/sources.list.d";\n'
            "// NVIDIA's, once a role has set it up, with a key that the role has checked.\n"
            f'Dir::Etc::SourceList "/{APT_SOURCE}";\n'
            'Dir::State::Lists "/var/lib/apt/gpulab-bundle/";\n'
            'Acquire::Languages "none";\n'
        )

    def _sources(self, path: Path, addresses: dict[str, str], option: str = "") -> None:
        head = f"deb [arch=amd64 {option}signed-by={self._system.keyring}]"
        sources = [
            f"{head} {addresses[archive.folder]} {suite} {' '.join(self._system.parts)}\n"
            for archive in self._archives
            for suite in archive.suites
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(sources))

    def _lay_out_indexes(self, archive: Archive, suite: str, to: Path) -> None:
        """Copy a suite's InRelease, whose signature apt has checked, and fetch the indexes that it names."""
        place = f"{archive.address}/dists/{suite}"
        to.mkdir(parents=True)
        name = place.partition("://")[2].replace("/", "_")
        shutil.copyfile(self._lists / f"{name}_InRelease", to / "InRelease")
        sums = (to / "InRelease").read_text().partition("\nSHA256:\n")[2]
        parts = "|".join(self._system.parts)
        for digest, index in re.findall(rf"(?m)^ ([0-9a-f]{{64}}) +\d+ ((?:{parts})/binary-amd64/Packages\.xz)$", sums):
            folder = (to / index).parent
            folder.mkdir(parents=True)
            download(f"{place}/{folder.relative_to(to)}/by-hash/SHA256/{digest}", to / index, digest)

    def _apt(self, *words: str) -> str:
        quiet = ("apt-get", "--quiet", "--quiet", "--yes", "--no-install-recommends", "--allow-downgrades")
        status, out, err = self._run([*quiet, *words])
        if status != 0:
            raise SystemExit(f"{' '.join(words)}: {err}{out}")
        return out

    def _run(self, argv: Sequence[str]) -> tuple[int, str, str]:
        own = {"APT_CONFIG": f"{self._root}/apt.conf", "DPKG_ADMINDIR": f"{self._root}/var/lib/dpkg", "LC_ALL": "C"}
        done = subprocess.run(argv, env={**os.environ, **own}, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr
