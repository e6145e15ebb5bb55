"""A password in an address of the inventory is in nothing that a plan or a refusal says."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from support.stand_in_lab import Lab

CHECKOUT = Path(__file__).parents[2]


def test_no_password_is_in_a_plan(tmp_path: Path) -> None:
    lab = Lab(tmp_path, "desk-1", "desk-2")
    address = "https://me:hunter2@mirror.example"
    lab.inventory["desk-1"] |= {"tensorflow_index_url": f"{address}/simple", "anaconda_source": f"{address}/conda"}
    lab.inventory["desk-2"] |= {"tensorflow_index_url": f"{address}/two words"}
    run = lab.play("plan", "--diff")
    assert run.recap("desk-1")["failed"] == 0, run.said
    assert run.recap("desk-2")["failed"] == 1
    assert "hunter2" not in run.said


def test_no_password_is_in_what_is_said_of_an_installer_out_of_reach(tmp_path: Path) -> None:
    role = {"name": "gpulab.workstation.anaconda", "tasks_from": "preflight"}
    play = {"hosts": "workstations", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": role}]}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    inputs = {"anaconda_source": "http://me:hunter2@127.0.0.1:9/mirror", "anaconda_prefix": str(tmp_path / "conda")}
    command = ["ansible-playbook", tmp_path / "play.yml", "-i", "inventories/quickstart", "-e", json.dumps(inputs)]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    said = " ".join((run.stdout + run.stderr).split())
    assert "http://127.0.0.1:9/mirror" in said and "is out of reach" in said, said
    assert "hunter2" not in said
