"""What a machine says is data: no playbook runs it as a template, nor the next one, which reads it in the inventory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.stand_in_lab import Lab

MODEL = "NVIDIA GeForce RTX 4090"


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture
def words(canary: Path) -> str:
    """Words of a machine that make the canary, if a template is made of them."""
    return f"{{{{ lookup('ansible.builtin.pipe', 'touch {canary}') }}}}"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "lab", "desk-1", "desk-2")
    for host in lab.inventory:
        lab.give(host, "RTX 4090")
    return lab


def in_inventory(lab: Lab, name: str) -> Path:
    """Return a file that Ansible reads with the lab's inventory."""
    path = lab.folder / "group_vars" / "workstations" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def have_gpu_say(lab: Lab, host: str, words: str) -> None:
    gpu = lab.read(host)["gpu"]
    lab.change(host, gpu={**gpu, "gpus": [{**entry, "name": words} for entry in gpu["gpus"]]})


def run_file(folder: Path, **said: Any) -> Path:
    proof = {"passed": True, "recipe": "guide", "images_per_s": 1000.0, "model": MODEL, **said}
    proof["devices"] = [{"kind": "GPU", "model": proof.pop("model")}]
    path = folder / "run.json"
    path.write_text(json.dumps({"schema": 1, "records": [{"host": "desk-1", "proof": proof}]}))
    return path


def test_no_lock_is_written_of_a_machine_whose_words_are_a_template(lab: Lab, canary: Path, words: str) -> None:
    lock = in_inventory(lab, "lock.yml")
    have_gpu_say(lab, "desk-1", words)
    run = lab.play("plan", "-e", f"stack_lock={lock}")
    lab.play("plan")
    assert not canary.exists()
    assert run.code != 0
    assert not lock.exists()
    said = " ".join(run.said.split())
    assert "desk-1: it says of itself" in said
    assert "--limit 'all:!desk-1'" in said
    assert lab.play("plan", "-e", f"stack_lock={lock}", "--limit", "all:!desk-1").code == 0
    assert "desk-2" in lock.read_text()


@pytest.mark.parametrize("part", ["images_per_s", "recipe", "model"])
def test_no_proof_is_accepted_whose_words_are_a_template(lab: Lab, canary: Path, words: str, part: str) -> None:
    table = in_inventory(lab, "accepted.yml")
    run = lab.play("accept", "-e", f"gpulab_run={run_file(lab.folder, **{part: words})}", "-e", f"gpulab_table={table}")
    lab.play("plan")
    assert not canary.exists()
    assert run.code != 0
    assert not table.exists()
    assert "desk-1: " in run.said


def test_no_playbook_runs_what_a_machine_says(lab: Lab, canary: Path, words: str) -> None:
    have_gpu_say(lab, "desk-1", words)
    machine = lab.read("desk-1")
    finding = {"code": words, "severity": "warning", "message": words, "remedy": words}
    lab.change(
        "desk-1",
        gpu={**machine["gpu"], "findings": [finding]},
        system={**machine["system"], "name": words, "foreign_sources": [{"file": words, "uri": words}]},
        trouble={"tensorflow": words},
    )
    lab.change("desk-2", system={**machine["system"], "id": words, "name": words})
    for playbook in ("site", "audit", "rollout"):
        run = lab.play(playbook)
        assert words in run.said.replace("\n", " "), run.said
        assert not canary.exists(), playbook
