"""The roles' own removal, for real where mounts are allowed: what it refuses, what it takes, and what it leaves."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode != 0,
    reason="NOT CHECKED: a machine that may be changed can be had only where mounts are allowed",
)


@dataclass
class Removal:
    """How a role's removal ended, and what it said."""

    code: int
    changed: int
    said: str


def remove(tmp_path: Path, role: str, *, before: str = "true", **inputs: Any) -> Removal:
    """Remove a role from this machine, with nothing in /usr/local and /var/lib but what ``before`` puts there."""
    play = {"hosts": "workstations", "gather_facts": False, "roles": [f"gpulab.workstation.{role}"]}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    (tmp_path / "inputs.json").write_text(json.dumps({f"{role}_state": "absent", **inputs}))
    script = [
        "mount -t tmpfs none /usr/local && mkdir /usr/local/bin",
        "mount -t tmpfs none /var/lib && mkdir -p /var/lib/gpulab/receipts",
        before,
        f"ansible-playbook {tmp_path}/play.yml -i inventories/quickstart -e @{tmp_path}/inputs.json",
    ]
    command = ["unshare", "--mount", "bash", "-ec", "\n".join(script)]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    run = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    changed = re.search(r"changed=(\d+)", run.stdout)
    assert changed, run.stdout + run.stderr
    return Removal(run.returncode, int(changed[1]), " ".join((run.stdout + run.stderr).split()))


WRONG = {
    "os_prep": {"os_prep_open_file": 4096},
    "tensorflow": {"tensorflow_prefix": "/home", "tensorflow_entry_point": ".", "tensorflow_entry_pont": "x"},
    "cifar10": {"cifar10_work_dir": "/var/../home"},
    "pull": {"pull_shedule": "hourly"},
    "lab_cache": {"lab_cache_directory": "/var/../home"},
}


@pytest.mark.parametrize("role", WRONG)
def test_wrong_inputs_are_refused(tmp_path: Path, role: str) -> None:
    removal = remove(tmp_path, role, **WRONG[role])
    assert removal.code != 0
    assert [name for name in WRONG[role] if name not in removal.said] == []
    assert removal.changed == 0
