"""What roles prove and write into their receipts, on a machine of stand-ins that runs nothing from /tmp."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

CHECKOUT = Path(__file__).parents[2]
SEEN_IN_BOTH = {"checkout": CHECKOUT, "python": Path(sys.prefix).resolve()}

pytestmark = pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode != 0,
    reason="NOT CHECKED: another /tmp can be had only where mounts are allowed",
)


def validated(tmp_path: Path, role: str, *machine: str, known: dict[str, Any]) -> dict[str, Any]:
    """Return the receipt that the role writes on a machine that ``machine`` makes, in /run, with what it ``known``."""
    task = {"ansible.builtin.include_role": {"name": f"gpulab.workstation.{role}", "tasks_from": "validate"}}
    play = [{"hosts": "workstations", "gather_facts": False, "tasks": [{**task, "vars": known}]}]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    script = [
        f"mount -t tmpfs none /run && mkdir /run/bin && cp {tmp_path}/play.yml /run && cd /",
        # The checkout, and the Python that runs this, may lie below /tmp themselves.
        *(f"mkdir /run/{name} && mount --bind {path} /run/{name}" for name, path in SEEN_IN_BOTH.items()),
        "mount -t tmpfs -o mode=1777,noexec none /tmp",
        *(f"mkdir -p {path} && mount --bind /run/{name} {path}" for name, path in SEEN_IN_BOTH.items()),
        "mount -t tmpfs none /var/lib",
        *machine,
        f"cd {CHECKOUT}",
        "PATH=/run/bin:$PATH ansible-playbook /run/play.yml -i inventories/quickstart >&2",
        "[ $(ls /var/lib/gpulab) = receipts ]",  # nothing else is left
        f"cat /var/lib/gpulab/receipts/{role}.json",
    ]
    command = ["unshare", "--mount", "bash", "-ec", "\n".join(script)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(run.stdout)


def compiler(name: str, *, program: str, does: str) -> str:
    """Return how a stand-in is made of a compiler whose ``program`` does something, whatever its source says."""
    compiles = f"printf '#!/bin/sh\\n{does}\\n' > {program}; chmod +x {program}"
    return f"printf '#!/bin/sh\\n%s\\n' \"{compiles}\" > /run/bin/{name}; chmod +x /run/bin/{name}"


CUDA = {
    "cuda_source": "distribution",
    "__cuda_sets": [],
    "__cuda_packages": {"results": [{"version": "12.4", "packages": {}}]},
}


def test_cuda_runs_its_proof_where_tmp_runs_nothing(tmp_path: Path) -> None:
    receipt = validated(tmp_path, "cuda", compiler("nvcc", program="saxpy", does="exit 77"), known=CUDA)
    assert receipt["details"]["ran_on_gpu"] is False


CUDNN = {
    "__cudnn_stack": {"components": {}, "system": {"family": "debian", "architecture": "x86_64"}},
    "__cudnn_folder": "/run/cudnn",
    "__cudnn_link": "/run/cudnn-in-use",
    "__cudnn_loader": "/run/loader.conf",
}
UNPACKED = [
    "mkdir -p /run/cudnn/nvidia/cudnn/{include,lib}",
    "touch /run/loader.conf /run/cudnn/nvidia/cudnn/include/cudnn_version.h",
    "ln -s libcudnn.so.9 /run/cudnn/nvidia/cudnn/lib/libcudnn.so && ln -s cudnn /run/cudnn-in-use",
]


def test_cudnn_runs_its_proof_where_tmp_runs_nothing(tmp_path: Path) -> None:
    machine = [*UNPACKED, compiler("cc", program="version", does="echo 9.10.2")]
    receipt = validated(tmp_path, "cudnn", *machine, known=CUDNN)
    assert receipt["version"] == "9.10.2.21"


@pytest.mark.parametrize(
    ("architecture", "digest"),
    [
        ("x86_64", "949452be657fa16687d0930933f032835951ef0892b37d2d53824d1a84dc97a8"),
        ("aarch64", "c9132cc3f8958447b4910a1720036d9eff5928cc3179b0a51fb6d167c6cc87d8"),
    ],
)
def test_cudnn_names_the_wheel_that_it_is_from(tmp_path: Path, architecture: str, digest: str) -> None:
    machine = [*UNPACKED, compiler("cc", program="version", does="echo 9.10.2")]
    known = {**CUDNN, "__cudnn_stack": {"system": {"family": "debian", "architecture": architecture}}}
    details = validated(tmp_path, "cudnn", *machine, known=known)["details"]
    assert details["downloads"] == [{"name": "nvidia-cudnn-cu12", "version": "9.10.2.21", "sha256": digest}]


CIFAR10 = {
    "__cifar10_share": "/run/cifar10",
    "__cifar10_programs": [],
    "__cifar10_training": {},
    "__cifar10_checks": [],
    "__cifar10_gpu": {"gpus": [], "driver": {"loaded": None}},
    "__cifar10_stack": {"components": {}},
}
ARCHIVE = {"name": "cifar-10-python.tar.gz", "version": "", "sha256": "a" * 64}


@pytest.mark.parametrize(("dataset", "downloads"), [("download", [ARCHIVE]), ("generated", []), ("/srv/cifar10", [])])
def test_cifar10_names_the_archive_that_it_fetched(tmp_path: Path, dataset: str, downloads: list[Any]) -> None:
    known = {**CIFAR10, "cifar10_dataset": dataset, "cifar10_dataset_sha256": "a" * 64}
    receipt = validated(tmp_path, "cifar10", known=known)
    assert receipt["details"]["passed"] is True
    assert receipt["details"]["downloads"] == downloads


OS_PREP = {
    **yaml.safe_load((CHECKOUT / "roles" / "os_prep" / "vars" / "Debian.yml").read_text()),
    "__os_prep_limits_path": "/run/limits.conf",
    "__os_prep_base_packages": ["make"],
    "__os_prep_time_packages": ["chrony"],
    "__os_prep_headers_package": "linux-headers-6.1",
    "__os_prep_needs_time_service": True,
    "os_prep_kernel_headers": True,
    # The last two are there by another name, and not at all.
    "os_prep_packages": ["git=1:2.39", "libc6:i386", "awk", "tmux"],
}
INSTALLED = ["chrony", "git", "libc6", "linux-headers-6.1", "make", "mawk", "vim"]
STATUS = "".join(
    f"Package: {name}\\nStatus: install ok installed\\nArchitecture: {'i386' if name == 'libc6' else 'all'}\\n"
    f"Version: 1\\nMaintainer: x\\nDescription: x\\n\\n"
    for name in INSTALLED
)


def test_os_prep_records_all_packages_that_it_was_asked_for(tmp_path: Path) -> None:
    machine = [
        f"mkdir -p /var/lib/dpkg/updates /var/lib/dpkg/info && printf '{STATUS}' > /var/lib/dpkg/status",
        "touch /run/limits.conf",
        compiler("cc", program="ready", does=""),
    ]
    evidence = validated(tmp_path, "os_prep", *machine, known=OS_PREP)["evidence"]
    packages = [item["name"] for item in evidence if item["kind"] == "package"]
    assert packages == ["make", "chrony", "git", "libc6", "linux-headers-6.1"]
