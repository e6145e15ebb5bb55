# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""accept.yml: the table of what GPUs are to reach grows from runs that people accept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def accept(*settings: str) -> subprocess.CompletedProcess[str]:
    extra = [argument for setting in settings for argument in ("-e", setting)]
    command = [sys.executable, "-m", "ansible", "playbook", "playbooks/accept.yml", "-i", "localhost,", *extra]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def run_file(folder: Path, host: str, rate: float) -> str:
    devices = [{"kind": "GPU", "model": "NVIDIA GeForce RTX 4090"}]
    proof = {"passed": True, "recipe": "guide", "images_per_s": rate, "devices": devices}
    path = folder / f"{host}.json"
    path.write_text(json.dumps({"schema": 1, "records": [{"host": host, "proof": proof}]}))
    return f"gpulab_run={path}"


def test_the_table_grows_and_accepting_again_changes_nothing(tmp_path: Path) -> None:
    table = f"gpulab_table={tmp_path / 'accepted.yml'}"
    for host, rate in (("desk-1", 1000.0), ("desk-2", 1100.0)):
        done = accept(run_file(tmp_path, host, rate), table)
        assert done.returncode == 0, done.stdout
    expected = {"NVIDIA GeForce RTX 4090": {"guide": {"desk-1": 1000.0, "desk-2": 1100.0}}}
    assert yaml.safe_load((tmp_path / "accepted.yml").read_text()) == {"cifar10_accepted": expected}
    assert "changed=0" in accept(run_file(tmp_path, "desk-2", 1100.0), table).stdout


def test_a_file_that_is_not_named_is_asked_for(tmp_path: Path) -> None:
    done = accept(f"gpulab_table={tmp_path / 'accepted.yml'}")
    assert done.returncode != 0
    assert "-e gpulab_run=" in done.stdout
    assert not (tmp_path / "accepted.yml").exists()


@pytest.mark.parametrize("contents", [None, "not JSON", "{}"])
def test_a_file_that_is_no_run_is_refused(tmp_path: Path, contents: str | None) -> None:
    run = tmp_path / "run.json"
    if contents is not None:
        run.write_text(contents)
    done = accept(f"gpulab_run={run}", f"gpulab_table={tmp_path / 'accepted.yml'}")
    assert done.returncode != 0
    assert f"gpulab_run is to be the run.json beside a report, and here it is {run}" in " ".join(done.stdout.split())
    assert not (tmp_path / "accepted.yml").exists()
