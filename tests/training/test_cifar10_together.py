# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Training across machines: two processes on the loopback stand for two machines."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "roles" / "cifar10" / "files" / "cifar10_together.py"
PYTHON = os.environ.get("GPULAB_TRAINING_PYTHON", str(ROOT / ".venv" / "training" / "bin" / "python"))

pytestmark = pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"NOT CHECKED: no Python with TensorFlow at {PYTHON}")


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _port in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def start(index: int, ports: list[int], *arguments: object) -> subprocess.Popen[str]:
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    told = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
    sizes = ("--dataset", "generated", "--generated-train", 1500, "--generated-test", 300, "--epochs", 4)
    command = [PYTHON, str(PROGRAM), *map(str, (*sizes, *arguments))]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TF_CONFIG": told})


def test_machines_that_train_together_come_to_the_same_weights(tmp_path):
    results, ports = [tmp_path / "0.json", tmp_path / "1.json"], free_ports(2)
    members = [start(index, ports, "--result", result) for index, result in enumerate(results)]
    for member in members:
        _output, said = member.communicate(timeout=300)
        assert member.returncode == 0, said
    first, second = (json.loads(result.read_text()) for result in results)
    assert (first["machine"], second["machine"], first["replicas"]) == (0, 1, 2)
    assert first["weights"] == second["weights"]
    assert first["history"][-1]["loss"] < first["history"][0]["loss"]
    assert 1.9 < first["history"][0]["loss"] < 2.4, "a network that knows nothing is at ln 10"


def test_without_a_word_about_the_machines_it_does_not_start():
    told = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    command = [PYTHON, str(PROGRAM), "--dataset", "generated", "--generated-train", "100"]
    done = subprocess.run(command, capture_output=True, text=True, env=told, timeout=300, check=False)
    assert done.returncode == 2
    assert "TF_CONFIG does not say" in done.stderr
