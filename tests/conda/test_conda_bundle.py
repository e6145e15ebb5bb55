"""conda from a bundle: the installer, and a channel with the packages of a lock and no others, without a network."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from bundle import wishes
from bundle.__main__ import materials
from bundle.channel import fetch_channel
from bundle.files import download, sha256
from bundle.systems import SYSTEMS
from conftest import CHECKOUT, VERSIONS, Machine, Module, StandIns

PYTHON = "{}.{}".format(*sys.version_info[:2])


@pytest.fixture
def lock(conda_env: Module, tmp_path: Path) -> str:
    """What conda would write of an environment with TensorFlow, its CUDA build."""
    packages = [f"python={PYTHON}", "tensorflow=2.19.1=cuda128*", "ipykernel"]
    made = conda_env(packages=packages, virtual_packages={"cuda": "12.8"}, export_to=tmp_path / "locks")
    assert made["changed"], made
    return (tmp_path / "locks" / "conda.lock").read_text()


@pytest.fixture
def bundle(lock: str, stand_ins: StandIns, tmp_path: Path) -> Path:
    installer = stand_ins.installer(VERSIONS[0])
    given = {
        "anaconda_source": installer.parent.as_uri(),
        "anaconda_version": VERSIONS[0],
        "anaconda_checksum": sha256(installer),
    }
    for folder, url, digest in wishes.downloads("anaconda", SYSTEMS["debian-12"], given):
        (tmp_path / "bundle" / folder).mkdir(parents=True)
        download(url, tmp_path / "bundle" / folder / url.rpartition("/")[2], digest)
    fetch_channel([lock], tmp_path / "bundle" / "conda")
    return tmp_path / "bundle"


def test_a_machine_without_a_network_gets_conda_and_its_environment(
    bundle: Path, machine: Machine, stand_ins: StandIns, tmp_path: Path
) -> None:
    inputs: dict[str, Any] = {
        "ansible_python_interpreter": sys.executable,
        "gpulab_bundle": str(bundle),
        "anaconda_prefix": "/opt/conda",
        "anaconda_version": VERSIONS[0],
        "anaconda_checksum": sha256(stand_ins.installer(VERSIONS[0])),
        "__tensorflow_needed_mib": 1,  # the stand-ins are small
        "tensorflow_source": "conda-forge",
        "tensorflow_build": "cuda",
        "tensorflow_version": "2.19.1",
        "tensorflow_python_version": PYTHON,
    }
    playbook = tmp_path / "play.yml"
    roles = ("anaconda", "tensorflow")
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars_files": [f"{CHECKOUT}/playbooks/vars/fetching.yml"],
        "environment": "{{ gpulab_fetching }}",
        # As in site.yml: where a play names roles, their defaults stand for what an inventory says.
        "tasks": [
            {"ansible.builtin.include_tasks": f"{CHECKOUT}/playbooks/tasks/places.yml"},
            *({"ansible.builtin.include_role": {"name": f"gpulab.workstation.{role}"}} for role in roles),
        ],
    }
    playbook.write_text(json.dumps([play]))

    def run() -> str:
        executable = Path(sys.executable).parent / "ansible-playbook"
        options = ("-i", "localhost,", "-c", "local", "-e", json.dumps(inputs))
        done = machine.run("unshare", "--net", executable, playbook, *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return re.search(r"changed=(\d+)", done.stdout)[1]

    assert run() != "0"
    told = machine.run("gpulab-python", "-c", "import tensorflow; print(tensorflow.__version__)")
    assert told.stdout == "2.19.1\n"
    assert run() == "0"


def test_the_channel_has_the_lock_s_packages_and_no_others(bundle: Path, lock: str) -> None:
    listed = {line.rpartition("#")[0].rpartition("/")[2] for line in lock.splitlines() if "://" in line}
    assert {path.name for path in bundle.glob("conda/*/*.tar.bz2")} == listed
    indexes = [json.loads(path.read_text()) for path in bundle.glob("conda/*/repodata.json")]
    assert {name for index in indexes for name in index["packages"]} == listed
    assert "tensorflow-2.19.2-cuda128py3_206.tar.bz2" not in listed


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("#[0-9a-f]{64}", "", "has no SHA-256 for"),
        ("#[0-9a-f]{4}", "#0000", "has the SHA-256"),
        ("numpy-3.0.0", "numpy-3.0.1", "has no numpy-3.0.1-0.tar.bz2 any more"),
    ],
)
def test_a_lock_without_hashes_or_of_other_packages_is_refused(
    lock: str, tmp_path: Path, old: str, new: str, told: str
) -> None:
    with pytest.raises(SystemExit, match=told):
        fetch_channel([re.sub(old, new, lock)], tmp_path / "conda")


def test_the_bill_names_each_package_and_the_installer(bundle: Path) -> None:
    files = [*bundle.glob("conda/*/*.tar.bz2"), *bundle.glob("installers/*.sh")]
    named = {part["hashes"][0]["content"] for part in materials(SYSTEMS["debian-12"], bundle)}
    assert named == {sha256(path) for path in files}
