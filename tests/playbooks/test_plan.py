"""The plan as people run it: it shows, changes nothing, and can be written down."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).parents[2]


def plan(*arguments: str) -> str:
    command = ["ansible-playbook", "playbooks/plan.yml", "-i", "inventories/quickstart", *arguments]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=300, check=True)
    return run.stdout


def test_with_the_lock_a_request_that_changed_since_is_held(tmp_path):
    lock = tmp_path / "lock.yml"
    plan("-e", f"stack_lock={lock}", "-e", "tensorflow_version=2.20.0")
    locked = yaml.safe_load(lock.read_text())["gpulab_lock"]["hosts"]["this-machine"]["inputs"]
    assert locked["tensorflow_version"] == "2.20.0"

    assert "2.21.0, CPU build" in plan(), "without the lock the newest is chosen"
    assert "2.20.0, CPU build" in plan("-e", f"@{lock}")


def test_the_plan_changes_nothing_and_ends_with_what_would_change():
    said = plan("-e", "os_prep_open_files=12345")
    assert "this-machine: would change" in said
    assert "os_prep" in said
    assert "changed=0" in said
