"""A password in an address of the inventory is in nothing that a plan or a refusal says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from support.stand_in_lab import Lab

CHECKOUT = Path(__file__).parents[2]
ADDRESS = "http://me:hunter2@127.0.0.1:9/mirror"


def test_no_password_is_in_a_plan(tmp_path: Path) -> None:
    lab = Lab(tmp_path, "desk-1", "desk-2")
    address = "https://me:hunter2@mirror.example"
    lab.inventory["desk-1"] |= {"tensorflow_index_url": f"{address}/simple", "anaconda_source": f"{address}/conda"}
    lab.inventory["desk-2"] |= {"tensorflow_index_url": f"{address}/two words"}
    run = lab.play("plan", "--diff")
    assert run.recap("desk-1")["failed"] == 0, run.said
    assert run.recap("desk-2")["failed"] == 1
    assert "hunter2" not in run.said


def test_no_password_is_in_what_a_run_leaves(tmp_path: Path) -> None:
    lab = Lab(tmp_path, "desk-1")
    lab.give("desk-1", "RTX 4090")
    of_nvidia = ("nvidia_driver_mirror", "cuda_mirror", "cudnn_mirror", "cudnn_index_url")
    addressed = (*of_nvidia, "tensorflow_index_url", "anaconda_source", "cifar10_dataset_url")
    for password in ("hunter2", "hunter3"):
        place = f"https://me:{password}@mirror.example/repos"
        lab.inventory["desk-1"] |= dict.fromkeys(addressed, place)
        for playbook in ("site", "audit"):
            run = lab.play(playbook, "--diff", "-v")
            assert run.recap("desk-1")["failed"] == 0, run.said
            left = "".join(file.read_text() for file in (tmp_path / "reports").rglob("*") if file.is_file())
            assert "desk-1" in left
            assert password not in run.said + left


def test_no_password_is_in_what_is_said_of_nvidias_repository(tmp_path: Path) -> None:
    use = {"used_by": "cuda", "mirror": "https://me:hunter2@mirror.example/nvidia"}
    key = {"key": "X.pub", "fingerprint": "AC078FCC4CB601B3D63BB4019805047D1AA75884"}
    tasks = [{"gpulab.workstation.nvidia_repository": {**use, **key}}]
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    command = ["ansible-playbook", tmp_path / "play.yml", "--connection=local", "--check", "--diff", "-vvv"]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    assert "https://mirror.example/nvidia/" in run.stdout, run.stdout + run.stderr
    assert "hunter2" not in run.stdout + run.stderr


@pytest.mark.parametrize(
    ("role", "inputs", "told"),
    [
        ("anaconda", {"anaconda_source": ADDRESS}, "http://127.0.0.1:9/mirror"),
        ("cifar10", {"cifar10_dataset": "download", "cifar10_dataset_url": ADDRESS}, "http://127.0.0.1:9/mirror"),
        ("tensorflow", {"tensorflow_index_url": ADDRESS}, "the package index of tensorflow_index_url"),
    ],
)
def test_no_password_is_in_what_is_said_of_a_place_out_of_reach(
    tmp_path: Path, role: str, inputs: dict[str, str], told: str
) -> None:
    preflight = {"name": f"gpulab.workstation.{role}", "tasks_from": "preflight"}
    play = {"hosts": "workstations", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": preflight}]}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    place = {"anaconda": "anaconda_prefix", "cifar10": "cifar10_work_dir", "tensorflow": "tensorflow_prefix"}[role]
    given = json.dumps({**inputs, place: str(tmp_path / "there")})
    command = ["ansible-playbook", tmp_path / "play.yml", "-i", "inventories/quickstart", "-vv", "-e", given]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    said = " ".join((run.stdout + run.stderr).split())
    assert told in said and ("is out of reach" in said or "does not answer" in said), said
    assert "hunter2" not in said
