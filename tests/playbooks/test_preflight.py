"""Each role's conditions can be checked alone, as the site does for all of them before the first change."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]

# What the plan would decide; every other input has a default that serves here.
DECIDED = {
    "os_prep": {},
    "nvidia_driver": {},
    "cuda": {"cuda_version": "12.8.1"},
    "cudnn": {},
    "anaconda": {"anaconda_state": "absent"},  # nothing is fetched: its publisher is out of a test's reach
    "tensorflow": {"tensorflow_env_manager": "venv"},
    "lab_cache": {"lab_cache_index": "https://index.example/"},
    "pull": {"pull_url": "https://git.lab.example/gpulab.git"},
    "cifar10": {"cifar10_dataset": "generated", "cifar10_python": sys.executable},
}


def test_every_role_is_here():
    assert set(DECIDED) == {path.name for path in (CHECKOUT / "roles").iterdir()}


def preflight(role: str, inputs: dict[str, Any], folder: Path) -> subprocess.CompletedProcess[str]:
    play = {
        "hosts": "workstations",
        "gather_facts": False,
        "tasks": [{"ansible.builtin.include_role": {"name": f"gpulab.workstation.{role}", "tasks_from": "preflight"}}],
    }
    playbook = folder / "preflight.yml"
    playbook.write_text(json.dumps([play]))
    command = ["ansible-playbook", str(playbook), "-i", "inventories/quickstart", "-e", json.dumps(inputs)]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("role", DECIDED)
def test_a_preflight_needs_nothing_of_what_runs_before_it(role, tmp_path):
    run = preflight(role, DECIDED[role], tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "changed=0" in run.stdout
    assert "[WARNING]" not in run.stdout + run.stderr


def test_a_repository_that_can_be_replaced_on_its_way_is_not_pulled_from(tmp_path):
    inputs = {"pull_url": "http://git.lab.example/gpulab.git"}
    run = preflight("pull", inputs, tmp_path)
    assert run.returncode != 0
    assert "unless pull_verify_commit is true" in " ".join(run.stdout.split())
    run = preflight("pull", {**inputs, "pull_verify_commit": True}, tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
