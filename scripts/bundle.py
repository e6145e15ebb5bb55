# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch what the CPU or CUDA environment of a system needs into a folder that a lab without internet can carry in.

make bundle ARGS="--system debian-12 --to bundle"        on a machine with apt and a way to PyPI and the archives

The folder holds wheels (of the lock, and uv's), the packages of the role os_prep under their archive's own signature,
on request the published images, SHA256SUMS, and a bill of materials. See docs/bundle.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from packaging.requirements import Requirement

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT / ".collections"))
from ansible_collections.gpulab.workstation.plugins.plugin_utils import sbom

LOCKS = CHECKOUT / "roles/tensorflow/files/locks"


@dataclass(frozen=True)
class System:
    """A release: its Python and glibc, the suites of its archives by their folder, and who signs them."""

    python: str
    glibc: int
    suites: dict[str, tuple[str, ...]]
    components: str
    keyring: str


def debian(suite: str, python: str, glibc: int) -> System:
    suites = {"debian": (suite, f"{suite}-updates"), "debian-security": (f"{suite}-security",)}
    return System(python, glibc, suites, "main", "debian-archive-keyring")


def ubuntu(suite: str, python: str, glibc: int) -> System:
    suites = {"ubuntu": (suite, f"{suite}-updates", f"{suite}-security")}
    return System(python, glibc, suites, "main universe", "ubuntu-archive-keyring")


SYSTEMS = {
    "debian-12": debian("bookworm", "3.11", 36),
    "debian-13": debian("trixie", "3.13", 41),
    "ubuntu-22.04": ubuntu("jammy", "3.10", 35),
    "ubuntu-24.04": ubuntu("noble", "3.12", 39),
}
# An archive as (folder, address, suites).
Archive = tuple[str, str, tuple[str, ...]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, required=True, help="the folder to make")
    parser.add_argument("--system", choices=SYSTEMS, required=True, help="what the machines run, on x86_64")
    parser.add_argument("--tensorflow", default="2.21.0", help="the release; it has a lock in roles/tensorflow/files")
    parser.add_argument("--build", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dataset", action="store_true", help="with the published images")
    parser.add_argument("--place", default="/srv/gpulab-bundle", help="where the machines will find the folder")
    parser.add_argument(
        "--archive",
        action="append",
        help="an address of the distribution's archive that ends in /debian, /debian-security or /ubuntu, for each of "
        "these; those of this machine's apt unless given",
    )
    asked = parser.parse_args()
    lock = LOCKS / f"tensorflow-{asked.build}-{asked.tensorflow}.txt"
    if not lock.exists():
        parser.error(f"there is no {lock.relative_to(CHECKOUT)}")
    if asked.to.exists():
        parser.error(f"{asked.to} is there already; name another folder, or take it away")
    if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", asked.place):
        parser.error(f"--place is an absolute path of letters, digits and . _ -, not {asked.place}")
    system = SYSTEMS[asked.system]
    if not system_keyring(system).exists():
        parser.error(f"{system_keyring(system)} is missing: install the package that has it")

    addresses = [address.rstrip("/") for address in asked.archive or own_archives()]
    archives = [
        (folder, address, suites)
        for folder, suites in system.suites.items()
        for address in addresses
        if address.endswith(f"/{folder}")
    ]
    if sorted(folder for folder, _address, _suites in archives) != sorted(system.suites):
        parser.error(f"name one --archive for each of {', '.join(system.suites)}; known here: {', '.join(addresses)}")

    # Whole or not at all: it gets its name when everything is in it.
    draft = asked.to.with_name(f"{asked.to.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    fetch_wheels(system, [lock, LOCKS / "uv.txt"], draft / "wheels")
    fetch_packages(system, archives, draft / "apt", f"{asked.place}/apt")
    if asked.dataset:
        fetch_images(draft / "images")
    for path in [draft, *draft.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    bill = sbom.document(f"gpulab-bundle-{asked.system}", components(asked.system, draft), kind="file")
    (draft / "sbom.cdx.json").write_text(json.dumps(bill, indent=1) + "\n")
    sums = [f"{sha256(path)}  {path.relative_to(draft)}\n" for path in sorted(draft.rglob("*")) if path.is_file()]
    (draft / "SHA256SUMS").write_text("".join(sums))
    draft.rename(asked.to)
    size = sum(path.stat().st_size for path in asked.to.rglob("*") if path.is_file())
    print(f"{asked.to}: {len(sums)} files, {size / 2**20:.0f} MiB. Bring it to {asked.place}, and set gpulab_bundle.")


def own_archives() -> list[str]:
    """Where this machine's apt fetches from."""
    listed = subprocess.check_output(["apt-get", "indextargets", "--format", "$(REPO_URI)"], text=True)
    return sorted({address.rstrip("/") for address in listed.split()})


def fetch_wheels(system: System, locks: list[Path], to: Path) -> None:
    """Fetch the wheels that the locks name for the system, by their hashes."""
    machine = {
        "sys_platform": "linux",
        "os_name": "posix",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "python_version": system.python,
        "python_full_version": f"{system.python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(5, system.glibc + 1)]
    platforms += ["manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64", "linux_x86_64"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "--dest", str(to)]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", system.python]
    command += [word for platform in platforms for word in ("--platform", platform)]
    for lock in locks:
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as wanted:
            wanted.write("\n".join(for_machine(lock.read_text(), machine)))
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


def fetch_packages(system: System, archives: list[Archive], to: Path, place: str) -> None:
    """Fetch what os_prep installs, with all it depends on, laid out and signed as in the archives."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        for folder in ("state/lists/partial", "cache/archives/partial", "etc"):
            (root / folder).mkdir(parents=True)
        (root / "state/status").touch()  # as if nothing were installed: then nothing is missing anywhere
        signed = f"[arch=amd64 signed-by={system_keyring(system)}]"
        sources = [(uri, suite) for folder, uri, suites in archives for suite in suites]
        (root / "etc/sources.list").write_text(
            "".join(f"deb {signed} {uri} {suite} {system.components}\n" for uri, suite in sources)
        )
        apt = [
            *("apt-get", "--quiet", "--quiet", "--yes", "--no-install-recommends"),
            *("-o", f"Dir::State={root}/state", "-o", f"Dir::State::status={root}/state/status"),
            *("-o", f"Dir::Cache={root}/cache", "-o", f"Dir::Etc::sourcelist={root}/etc/sources.list"),
            *("-o", "Dir::Etc::sourceparts=/dev/null", "-o", "Dir::Etc::preferencesparts=/dev/null"),
            *("-o", "APT::Architecture=amd64", "-o", "APT::Architectures::=amd64", "-o", "APT::Sandbox::User=root"),
            *("-o", "Acquire::Languages=none"),
        ]
        subprocess.run([*apt, "update"], check=True)
        packages = wanted_packages(system)
        listed = subprocess.run(
            [*apt, "--print-uris", "install", *packages], check=True, capture_output=True, text=True
        )
        subprocess.run([*apt, "--download-only", "install", *packages], check=True, stdout=subprocess.DEVNULL)
        for folder, uri, suites in archives:
            for suite in suites:
                name = f"{uri.partition('://')[2].replace('/', '_')}_dists_{suite}_InRelease"
                fetch_indexes(root / "state/lists" / name, f"{uri}/dists/{suite}", to / folder / "dists" / suite)
            for address, name in re.findall(r"^'([^']+)' (\S+)", listed.stdout, re.M):
                if address.startswith(f"{uri}/"):
                    target = to / folder / urllib.parse.unquote(address[len(uri) + 1 :])
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.move(root / "cache/archives" / name, target)
    # The machines check its makers' signatures, but not how long they are to last: the lab is offline.
    signed = f"[arch=amd64 check-valid-until=no signed-by={system_keyring(system)}]"
    (to / "sources.list").write_text(
        "".join(
            f"deb {signed} file:{place}/{folder} {suite} {system.components}\n"
            for folder, uri, suites in archives
            for suite in suites
        )
    )
    (to / "apt.conf").write_text(
        f'Dir::Etc::SourceList "{place}/sources.list";\n'
        'Dir::Etc::SourceParts "/dev/null";\n'
        'Dir::State::Lists "/var/lib/apt/gpulab-bundle/";\n'
        'Acquire::Languages "none";\n'
    )


def fetch_indexes(release: Path, uri: str, to: Path) -> None:
    """Copy a suite's InRelease, whose signature apt has checked, and fetch the indexes of packages that it names."""
    to.mkdir(parents=True)
    shutil.copyfile(release, to / "InRelease")
    sums = release.read_text().partition("\nSHA256:\n")[2]
    for digest, name in re.findall(r"^ ([0-9a-f]{64}) +\d+ ((?:main|universe)/binary-amd64/Packages\.xz)$", sums, re.M):
        target = to / name
        target.parent.mkdir(parents=True)
        download(f"{uri}/{target.parent.relative_to(to)}/by-hash/SHA256/{digest}", target, digest)


def wanted_packages(system: System) -> list[str]:
    """What the role os_prep installs, and what Ansible's own module needs for that."""
    names = yaml.safe_load((CHECKOUT / "roles/os_prep/vars/Debian.yml").read_text())
    base = [name for name in names["__os_prep_base_packages"] if "{{" not in name]
    return [*base, *names["__os_prep_time_packages"], "python3-apt", f"python{system.python}-venv"]


def system_keyring(system: System) -> Path:
    return Path(f"/usr/share/keyrings/{system.keyring}.gpg")


def fetch_images(to: Path) -> None:
    """Fetch the published images."""
    cifar10 = yaml.safe_load((CHECKOUT / "roles/cifar10/defaults/main.yml").read_text())
    url = cifar10["cifar10_dataset_url"]
    to.mkdir()
    download(url, to / url.rpartition("/")[2], cifar10["cifar10_dataset_sha256"])


def download(url: str, to: Path, digest: str) -> None:
    """Fetch a file that is to have this SHA-256."""
    with urllib.request.urlopen(url, timeout=60) as answer, to.open("wb") as file:
        shutil.copyfileobj(answer, file)
    if sha256(to) != digest:
        sys.exit(f"{url} has the SHA-256 {sha256(to)} and not {digest}.")


def components(system: str, bundle: Path) -> list[sbom.Component]:
    """What is in the bundle, from the files' names, which their formats prescribe."""
    found = []
    for path in bundle.glob("wheels/*.whl"):
        name, version = path.name.split("-")[:2]
        found.append(sbom.distribution(name, version, sha256=sha256(path)))
    for path in bundle.glob("apt/**/*.deb"):
        shown = ["dpkg-deb", "--show", "--showformat=${Package} ${Version} ${Architecture}", str(path)]
        name, version, architecture = subprocess.check_output(shown, text=True).split()
        maker = system.partition("-")[0]
        found.append(sbom.package(maker, name, version, architecture=architecture, sha256=sha256(path)))
    for path in bundle.glob("images/*"):
        found.append(sbom.download(path.name, sha256=sha256(path)))
    return found


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
