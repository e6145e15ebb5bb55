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
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.gpulab.workstation.plugins.module_utils import _nvidia_repository as nvidia
from ansible_collections.gpulab.workstation.plugins.module_utils._files import write_text
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
        self._repository: nvidia.Repository | None = None
        self._lists, self._cache = root / "var/lib/apt/lists", root / "var/cache/apt"
        for folder in (self._lists / "partial", self._cache / "archives/partial", root / "var/lib/dpkg"):
            folder.mkdir(parents=True)
        (root / "var/lib/dpkg/status").touch()
        self._sources(root / "etc/apt/sources.list.d/archives.list", {a.folder: a.address for a in archives})
        # All else, such as a proxy, is as this machine's apt has it.
        (root / "apt.conf").write_text(
            f'Dir::State "{root}/var/lib/apt";\n'
            f'Dir::State::status "{root}/var/lib/dpkg/status";\n'
            f'Dir::Cache "{self._cache}";\n'
            'Dir::Etc::SourceList "/dev/null";\n'
            f'Dir::Etc::SourceParts "{root}/etc/apt/sources.list.d";\n'
            f'Dir::Etc::PreferencesParts "{root}/etc/apt/preferences.d";\n'
            'APT::Architecture "amd64";\n'
            'APT::Architectures { "amd64"; };\n'
            'APT::Sandbox::User "root";\n'
            'Acquire::Languages "none";\n'
        )

    def use_nvidia(self, repository: nvidia.Repository, used_by: Sequence[str]) -> None:
        """Take the packages of the roles ``used_by`` from NVIDIA's repository, as the roles would.

        Raises:
            RepositoryError: Its key is not the one expected.
        """
        with urllib.request.urlopen(repository.url + repository.key, timeout=60) as answer:
            key = answer.read()
        nvidia.check_key(key, repository.fingerprint)
        files = nvidia.apt_files(repo=repository, key=key.decode(), used_by=used_by)
        for path, text in files.items():
            write_text(str(self._root / path), text.replace("Signed-By: /", f"Signed-By: {self._root}/"))
        self._repository = repository

    def read_indexes(self) -> None:
        """Fetch the indexes of all sources, and check their signatures."""
        self._apt("-o", "APT::Update::Error-Mode=any", "-o", "Acquire::GzipIndexes=false", "update")

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
        """Lay out what was fetched, and write what makes a machine's apt use it when ``to`` is at ``place``."""
        for archive in self._archives:
            for suite in archive.suites:
                self._lay_out_indexes(archive, suite, to / "apt" / archive.folder / "dists" / suite)
            self._lay_out_packages(f"{archive.address}/", to / "apt" / archive.folder)
        if self._repository:
            self._lay_out_nvidia(self._repository, to / "nvidia" / nvidia.folder_of(self._system.facts) / "x86_64")
        # The machines check the makers' signatures, but not how long they are to last: the lab is offline.
        folders = {archive.folder: f"file:{place}/apt/{archive.folder}" for archive in self._archives}
        self._sources(to / "apt/sources.list.d/archives.list", folders, "check-valid-until=no ")
        (to / "apt/apt.conf").write_text(
            f'Dir::Etc::SourceParts "{place}/apt/sources.list.d";\n'
            "// NVIDIA's, once a role has set it up, with a key that the role has checked.\n"
            f'Dir::Etc::SourceList "/{nvidia.APT_SOURCE}";\n'
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
        shutil.copyfile(self._listed(f"{place}/InRelease"), to / "InRelease")
        sums = (to / "InRelease").read_text().partition("\nSHA256:\n")[2]
        parts = "|".join(self._system.parts)
        for digest, index in re.findall(rf"(?m)^ ([0-9a-f]{{64}}) +\d+ ((?:{parts})/binary-amd64/Packages\.xz)$", sums):
            folder = (to / index).parent
            folder.mkdir(parents=True)
            download(f"{place}/{folder.relative_to(to)}/by-hash/SHA256/{digest}", to / index, digest)

    def _lay_out_nvidia(self, repository: nvidia.Repository, to: Path) -> None:
        """Copy the repository's key and indexes as apt has checked them, and the packages."""
        to.mkdir(parents=True)
        shutil.copyfile(self._root / nvidia.KEYRING, to / repository.key)
        signed = [
            name for name in ("InRelease", "Release", "Release.gpg") if self._listed(repository.url + name).exists()
        ]
        for name in signed:
            shutil.copyfile(self._listed(repository.url + name), to / name)
        # Where there are packed ones apt wants one of these, and takes the other for a forgery of it.
        packed = dict(re.findall(r"(?m)^ ([0-9a-f]{64}) +\d+ (Packages\.\w+)$", (to / signed[0]).read_text()))
        for digest, name in packed.items():
            download(repository.url + name, to / name, digest)
        if not packed:
            shutil.copyfile(self._listed(f"{repository.url}Packages"), to / "Packages")
        self._lay_out_packages(repository.url, to)

    def _lay_out_packages(self, address: str, to: Path) -> None:
        for uri, name in self._fetched.items():
            if uri.startswith(address):
                target = to / urllib.parse.unquote(uri[len(address) :])
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(self._cache / "archives" / name, target)

    def _listed(self, uri: str) -> Path:
        """Where apt keeps an index."""
        plain = re.sub(r"[^A-Za-z0-9./+,:-]", lambda odd: f"%{ord(odd[0]):02x}", uri.partition("://")[2])
        return self._lists / plain.replace("/", "_")

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
