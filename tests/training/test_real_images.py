# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CIFAR-10 itself, on machines that have its images (tests/images says where from): the role's floors hold for it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from ansible_collections.gpulab.workstation.plugins.plugin_utils.proof import Expected, judge

ROOT = Path(__file__).parents[2]
TRAINER = ROOT / "roles" / "cifar10" / "files" / "cifar10_train.py"
PYTHON = os.environ.get("GPULAB_TRAINING_PYTHON", str(ROOT / ".venv" / "training" / "bin" / "python"))

pytestmark = pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"NOT CHECKED: no Python with TensorFlow at {PYTHON}")


@pytest.fixture(scope="module")
def images() -> str:
    found = subprocess.run([ROOT / "tests" / "images"], stdout=subprocess.PIPE, text=True, check=True)
    return found.stdout.strip() or pytest.skip("NOT CHECKED: CIFAR-10 itself, for want of its images")


def test_the_network_learns_cifar10_and_the_judge_takes_the_floor_that_goes_with_the_images(
    images: str, tmp_path: Path
) -> None:
    result = tmp_path / "result.json"
    command = [PYTHON, TRAINER, "--dataset", images, "--recipe", "fast", "--gpus", "0", "--result", result]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    trained = json.loads(result.read_text())
    assert (trained["dataset"]["train"], trained["dataset"]["test"]) == (50_000, 10_000)
    job = {"rc": 0, "reason": "exited", "result": trained}
    accuracy = next(check for check in judge(job, Expected(gpus=0)) if check["name"] == "accuracy")
    assert accuracy["status"] == "passed"
    assert ("0.67" if trained["dataset"]["source"] == "canonical" else "0.62") in accuracy["detail"]
