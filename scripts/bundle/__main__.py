# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch what a plan for a system needs into a folder that a lab without internet can carry in.

make bundle ARGS="--system debian-12 --to bundle"        on a machine with apt and a way to PyPI and the archives

The roles say what that is, from the inputs that the inventory gives them (-e). The folder holds packages under their
archive's own signature, wheels and files by their hashes, SHA256SUMS, and a bill of materials. See docs/bundle.md.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.gpulab.workstation.plugins.module_utils._nvidia_repository import RepositoryError
from ansible_collections.gpulab.workstation.plugins.module_utils._packages import PackageError
from ansible_collections.gpulab.workstation.plugins.plugin_utils import sbom
from ansible_collections.gpulab.workstation.plugins.plugin_utils.input_problems import problems

from bundle import wishes
from bundle.archive import Archive, BareMachine, own_archives
from bundle.channel import fetch_channel
from bundle.files import download, sha256
from bundle.systems import SYSTEMS, System
from bundle.wheels import fetch_wheels

COMPONENTS = ("os_prep", "nvidia_driver", "cuda", "cudnn", "anaconda", "tensorflow", "cifar10")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="make bundle", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--to", type=Path, required=True, help="the folder to make")
    parser.add_argument("--system", choices=SYSTEMS, required=True, help="what the machines run, on x86_64")
    parser.add_argument(
        "--components",
        type=lambda text: text.split(","),
        default=["os_prep", "tensorflow"],
        help=f"what is to come from the bundle, of {','.join(COMPONENTS)}; os_prep,tensorflow unless given",
    )
    parser.add_argument(
        "--kernel", action="append", default=[], help="a kernel that the machines run (uname -r), for its headers"
    )
    parser.add_argument(
        "--conda-lock",
        action="append",
        default=[],
        type=Path,
        help="what conda list --explicit --sha256 has written of an environment as the machines are to have it: these "
        "packages make the channel of the bundle",
    )
    parser.add_argument(
        "-e",
        action="append",
        default=[],
        metavar="NAME=VALUE|@FILE",
        help="inputs of the roles, as the inventory of the machines has them; what it leaves out is the role's default",
    )
    parser.add_argument("--place", default="/srv/gpulab-bundle", help="where the machines will find the folder")
    parser.add_argument(
        "--archive",
        action="append",
        help="an address of the distribution's archive that ends in /debian, /debian-security or /ubuntu, for each of "
        "these; those of this machine's apt unless given",
    )
    asked = parser.parse_args()
    system, given = SYSTEMS[asked.system], inputs(asked.e)
    wrong = [*problems(given), *refusals(asked, system)]
    if wrong:
        parser.error(" ".join(wrong))

    # Whole or not at all: it gets its name when everything is in it.
    draft = asked.to.with_name(f"{asked.to.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        fetch(asked, system, given, draft)
    except (OSError, PackageError, RepositoryError) as error:
        parser.error(str(error))
    for path in [draft, *draft.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    bill = sbom.document(f"gpulab-bundle-{system.name}", materials(system, draft), kind="file")
    (draft / "sbom.cdx.json").write_text(json.dumps(bill, indent=1) + "\n")
    sums = [f"{sha256(path)}  {path.relative_to(draft)}\n" for path in sorted(draft.rglob("*")) if path.is_file()]
    (draft / "SHA256SUMS").write_text("".join(sums))
    draft.rename(asked.to)
    size = sum(path.stat().st_size for path in asked.to.rglob("*") if path.is_file())
    print(f"{asked.to}: {len(sums)} files, {size / 2**20:.0f} MiB. Bring it to {asked.place}, and set gpulab_bundle.")


def inputs(words: Sequence[str]) -> dict[str, Any]:
    """What ``-e`` gives, as ansible-playbook reads it: later words go before earlier ones."""
    given: dict[str, Any] = {}
    for word in words:
        name, _equals, value = word.partition("=")
        given.update(yaml.safe_load(Path(word[1:]).read_text()) or {} if word.startswith("@") else {name: value})
    return given


def refusals(asked: argparse.Namespace, system: System) -> list[str]:
    """What is wrong with what is asked for."""
    unknown = sorted(set(asked.components) - set(COMPONENTS))
    found = sorted(archive.folder for archive in archives(asked, system))
    cases = (
        (unknown, f"There is no {', '.join(unknown)} to be had; --components knows {', '.join(COMPONENTS)}."),
        (
            "anaconda" in asked.components and not asked.conda_lock,
            "What conda is to install it takes from a channel: name the environment's packages with --conda-lock.",
        ),
        (
            "nvidia_driver" in asked.components and not asked.kernel,
            "The driver is built for the kernels of the machines: name each with --kernel (uname -r).",
        ),
        (asked.to.exists(), f"{asked.to} is there already; name another folder, or take it away."),
        (
            not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", asked.place),
            f"--place is an absolute path of letters, digits and . _ -, not {asked.place}.",
        ),
        (not system.keyring.exists(), f"{system.keyring} is missing: install the package that has it."),
        (
            found != sorted(system.suites),
            f"Name one --archive for each of {', '.join(system.suites)}; known here: {', '.join(found) or 'none'}.",
        ),
    )
    return [message for wrong, message in cases if wrong]


def archives(asked: argparse.Namespace, system: System) -> list[Archive]:
    """The archives of the system among those that are known."""
    addresses = [address.rstrip("/") for address in asked.archive or own_archives()]
    return [
        Archive(folder, address, suites)
        for folder, suites in system.suites.items()
        for address in addresses
        if address.endswith(f"/{folder}")
    ]


def fetch(asked: argparse.Namespace, system: System, given: Mapping[str, Any], to: Path) -> None:
    """Fetch all that is asked for."""
    components = [component for component in COMPONENTS if component in asked.components]
    packages, locks, files, repositories = [], [], [], {}
    for component in components:
        repository = wishes.repository(component, system, given)
        if repository:
            repositories.setdefault(repository, []).append(component)
        packages += wishes.packages(component, system, given, asked.kernel)
        locks += wishes.wheels(component, system, given)
        files += wishes.downloads(component, system, given)
    conda_locks = [lock.read_text() for lock in asked.conda_lock]
    if len(repositories) > 1:
        raise RepositoryError(f"All components come from one repository of NVIDIA's, not {len(repositories)}.")
    to.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        machine = BareMachine(Path(scratch), system, archives(asked, system))
        for repository, used_by in repositories.items():
            machine.use_nvidia(repository, used_by)
        machine.read_indexes()
        for request in packages:
            machine.fetch(request)
        machine.lay_out(to, asked.place)
    fetch_wheels(system, wishes.python(components, system, given), locks, to / "wheels")
    for folder, url, digest in files:
        (to / folder).mkdir(exist_ok=True)
        download(url, to / folder / url.rpartition("/")[2], digest)
    if conda_locks:
        fetch_channel(conda_locks, to / "conda")
    contents = {"system": system.name, "components": components, "kernels": asked.kernel}
    (to / "bundle.json").write_text(json.dumps(contents, indent=1) + "\n")


def materials(system: System, bundle: Path) -> list[sbom.Component]:
    """What is in the bundle, from the files' names, which their formats prescribe."""
    found = []
    for path in bundle.glob("wheels/*.whl"):
        name, version = path.name.split("-")[:2]
        found.append(sbom.distribution(name, version, sha256=sha256(path)))
    for path in bundle.glob("**/*.deb"):
        shown = ["dpkg-deb", "--show", "--showformat=${Package} ${Version} ${Architecture}", str(path)]
        name, version, architecture = subprocess.check_output(shown, text=True).split()
        found.append(sbom.package(system.id, name, version, architecture=architecture, sha256=sha256(path)))
    for path in (*bundle.glob("conda/*/*.conda"), *bundle.glob("conda/*/*.tar.bz2")):
        name, version, _build = path.name.rsplit("-", 2)
        found.append(sbom.conda(name, version, sha256=sha256(path)))
    for path in (*bundle.glob("images/*"), *bundle.glob("installers/*")):
        found.append(sbom.download(path.name, sha256=sha256(path)))
    return found


if __name__ == "__main__":
    main()
