"""The role tensorflow with conda, whole, on a machine that may be changed and has no driver."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import Machine, StandIns

PREFIX = "/opt/gpulab/envs/tensorflow"
Play = Callable[..., tuple[int, str]]


@pytest.fixture
def play(machine: Machine, conda: Path, stand_ins: StandIns, tmp_path: Path) -> Play:
    """Run the role; return how many things changed, or -1 where it failed, and what was said."""
    play = {"hosts": "localhost", "gather_facts": False, "roles": ["gpulab.workstation.tensorflow"]}
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps([play]))
    inputs = {
        "ansible_python_interpreter": sys.executable,
        "__tensorflow_needed_mib": 1,  # the stand-ins are small
        "tensorflow_source": "conda-forge",
        "tensorflow_build": "cuda",
        "tensorflow_version": "2.19.1",
        "tensorflow_python_version": "{}.{}".format(*sys.version_info[:2]),
        "tensorflow_conda_prefix": str(conda.parents[1]),
        "tensorflow_conda_channels": [stand_ins.channel],
    }

    def run(*options: str, **more: Any) -> tuple[int, str]:
        executable = Path(sys.executable).parent / "ansible-playbook"
        variables = json.dumps({**inputs, **more})
        done = machine.run(executable, playbook, "-i", "localhost,", "-c", "local", "-e", variables, *options)
        changed = int(re.search(r"changed=(\d+)", done.stdout).group(1))
        return (changed if done.returncode == 0 else -1), done.stdout + done.stderr

    return run


def in_use(machine: Machine) -> str:
    return machine.run("readlink", "-f", PREFIX).stdout.strip()


def test_the_cuda_build_is_installed_though_no_driver_is_loaded(play: Play, machine: Machine) -> None:
    announced, said = play("--check")
    assert announced > 0, said
    made, said = play()
    assert made > 0, said
    assert machine.run("ls", f"{PREFIX}/conda-meta/tensorflow-2.19.1-cuda128py3_206.json").returncode == 0
    told = machine.run("gpulab-python", "-c", "import tensorflow; print(tensorflow.__version__)")
    assert told.stdout == "2.19.1\n"
    assert play()[0] == 0


def test_an_environment_that_fails_its_trial_is_never_put_to_use(play: Play, machine: Machine) -> None:
    play()
    good = in_use(machine)
    for _attempt in range(2):
        failed, said = play(tensorflow_version="2.19.2")
        assert failed == -1 and "libcudnn.so.9: cannot open shared object file" in said
        assert in_use(machine) == good
    assert play()[0] == 0


def test_nothing_is_left_of_one_that_is_removed(play: Play, machine: Machine) -> None:
    play()
    assert play("--check", tensorflow_state="absent")[0] > 0
    assert play(tensorflow_state="absent")[0] > 0
    assert machine.run("find", str(Path(PREFIX).parent), "-mindepth", "1").stdout == ""
    assert machine.run("ls", "/usr/local/bin/gpulab-python").returncode != 0
    assert play(tensorflow_state="absent")[0] == 0
