# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role tensorflow runs before an environment is put to use, with TensorFlow itself."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PYTHON = CHECKOUT / ".venv" / "training" / "bin" / "python"
TRIAL = CHECKOUT / "roles" / "tensorflow" / "files" / "try_tensorflow.py"
REFUSE = "(_ for _ in ()).throw(tf.errors.InternalError(None, None, 'no such library'))"


def try_with(fault: str = "") -> subprocess.CompletedProcess[str]:
    code = f"import tensorflow as tf\n{fault}\nimport runpy; runpy.run_path({str(TRIAL)!r})"
    return subprocess.run([PYTHON, "-I", "-c", code], capture_output=True, text=True, timeout=300, check=False)


def test_a_sound_environment_says_what_it_is() -> None:
    found = json.loads(try_with().stdout)
    assert (found["cuda"], found["devices"], found["gpus"]) == (False, ["CPU"], [])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("tf.linalg.matmul = lambda *_: tf.zeros((64, 64))", "computes wrongly (product)"),
        ("tf.nn.conv2d = lambda *_, **__: tf.zeros((1, 14, 14, 8))", "computes wrongly (convolution)"),
        (f"tf.nn.conv2d = lambda *_, **__: {REFUSE}", "fails (convolution): no such library"),
        (f"tf.function = lambda *_, **__: lambda: {REFUSE}", "fails (XLA): no such library"),
    ],
)
def test_what_cannot_be_computed_is_named(fault: str, said: str) -> None:
    done = try_with(fault)
    assert done.returncode != 0
    assert f"/job:localhost/replica:0/task:0/device:CPU:0 {said}" in done.stderr
