# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof on machines with one fault each: a stand-in trainer and a stand-in NVML library, all else is real.

All machines are in one play, on this one: the job is started, watched, sampled and judged for each.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support import nvml_stand_in

ROOT = Path(__file__).parents[2]
GPU = {"kind": "GPU", "name": "GPU:0", "model": "NVIDIA GeForce RTX 4090", "pci_address": "0000:01:00.0"}
SOUND = {
    "dataset": {"name": "stand-in images", "source": "generated", "train": 12000, "test": 2000},
    "recipe": "guide",
    "epochs": 2,
    "devices": [GPU],
    "trained_on": ["GPU:0"],
    "alone": [{**GPU, "images_per_s": 90000.0}],
    "history": [{"loss": 2.0}, {"loss": 0.4}],
    "accuracy": 0.91,
    "seconds_training": 1.0,
    "images_per_s": 9000.0,
}
# It is on the GPU by its process number, keeps it busy for a while, and leaves the result it was given.
TRAINER = """#!{python}
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(__file__).parent
(folder / "arguments").write_text(json.dumps(sys.argv[1:]))
(folder / "pid.part").write_text(str(os.getpid()))
(folder / "pid.part").rename(folder / "pid")
{first}
def mark(edge):
    with open(os.environ["GPULAB_PROGRESS"], "a") as progress:
        print(json.dumps({{"event": "mark", "mark": "load GPU:0", "edge": edge}}), file=progress)
mark("begin")
time.sleep(1.5)
mark("end")
pathlib.Path(os.environ["GPULAB_RESULT"]).write_text((folder / "given.json").read_text())
"""
BUSY = {**nvml_stand_in.RTX_4090, "utilization": 97, "throttle_reasons": "0x4"}

# Each machine's check that has to fail, and what is wrong there: with the result, with the GPU, with the trainer.
FAULTS: dict[str, tuple[str | None, dict, dict, str]] = {
    "sound": (None, {}, {}, ""),
    "shuffled-labels": ("accuracy", {"accuracy": 0.11}, {}, ""),
    "not-a-number": ("learning", {"history": [{"loss": 2.0}, {"loss": float("nan")}]}, {}, ""),
    "cpu-fallback": ("devices", {"devices": [{"kind": "CPU", "name": "CPU:0"}], "trained_on": ["CPU:0"]}, {}, ""),
    "wrong-gpu": ("devices", {}, {"pci": "0000:02:00.0"}, ""),
    "slow": ("throughput", {"images_per_s": 100.0}, {}, ""),
    "idle-gpu": ("gpu_utilization", {}, {"utilization": 3}, ""),
    "throttled": ("throttling", {}, {"throttle_reasons": "0x40"}, ""),
    "narrow-link": ("pcie", {}, {"pcie_width": 4}, ""),
    "memory-errors": ("ecc", {}, {"ecc_uncorrected": "0 0 0 0 0 2", "period_ms": 200}, ""),
    "driver-error": ("xid", {}, {"xid": "79 500"}, ""),
    "another-process": ("other_processes", {}, {"process": ["compute @{folder}/pid 900", "compute 1 100"]}, ""),
    "killed": ("training", {}, {}, "os.kill(os.getpid(), signal.SIGKILL)"),
    "hanging": ("training", {}, {}, "time.sleep(600)"),
    "full-disk": ("training", {}, {}, "open('/dev/full', 'w').write('x' * 9999)"),
}


def make(folder: Path, library: Path, *, result: dict, gpu: dict, first: str) -> dict[str, object]:
    """A machine's trainer and NVML library in a folder of its own; returns its variables."""
    folder.mkdir()
    shutil.copy(library, folder / library.name)
    process = gpu.get("process", ["compute @{folder}/pid 900"])
    described = {**BUSY, **gpu, "process": [line.format(folder=folder) for line in process]}
    nvml_stand_in.configure(folder / library.name, machine=nvml_stand_in.MACHINE, gpus=[described])
    (folder / "given.json").write_text(json.dumps({**SOUND, **result}))
    trainer = folder / "trainer"
    trainer.write_text(TRAINER.format(python=sys.executable, first=first))
    trainer.chmod(0o755)
    return {"folder": str(folder), "cifar10_python": str(trainer), "cifar10_timeout": 12 if "600" in first else 120}


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of all machines, after the play, each with the checks.json that was made of it."""
    if nvml_stand_in.compiler() is None:
        pytest.skip("NOT CHECKED: no C compiler for the stand-in NVML")
    tmp = tmp_path_factory.mktemp("machines")
    library = nvml_stand_in.build(tmp)
    hosts = {
        name: make(tmp / name, library, result=result, gpu=gpu, first=first)
        for name, (_check, result, gpu, first) in FAULTS.items()
    }
    settings = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "cifar10_dataset": "generated",
        "cifar10_gpus": 1,
        "cifar10_user": getpass.getuser(),
        "cifar10_accepted": {"NVIDIA GeForce RTX 4090": {"guide": {"desk-1": 9100.0}}},
    }
    role = {"name": "gpulab.workstation.cifar10", "tasks_from": "train", "public": True}
    checks = {"content": "{{ __cifar10_checks | to_json }}", "dest": "{{ folder }}/checks.json"}
    play = {
        "hosts": "all",
        "gather_facts": False,
        # What gpu_job loads; gpu_info would not look for a library where the bus has no GPU.
        "environment": {"LD_LIBRARY_PATH": "{{ folder }}"},
        "module_defaults": {"gpulab.workstation.gpu_info": {"nvml_library": "{{ folder }}/" + library.name}},
        "tasks": [
            {"name": "Train", "ansible.builtin.include_role": role},
            {"name": "Keep the checks", "ansible.builtin.copy": checks},
        ],
    }
    (tmp / "inventory.yml").write_text(json.dumps({"all": {"hosts": hosts, "vars": settings}}))
    (tmp / "play.yml").write_text(json.dumps([play]))
    command = [sys.executable, "-m", "ansible", "playbook", str(tmp / "play.yml"), "-i", str(tmp / "inventory.yml")]
    environment = {**os.environ, "ANSIBLE_FORKS": str(len(FAULTS))}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    return {name: tmp / name for name in FAULTS}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fails_its_check(machines: dict[str, Path], name: str) -> None:
    checks = {check["name"]: check for check in json.loads((machines[name] / "checks.json").read_text())}
    failed = [check for check, found in checks.items() if found["status"] == "failed"]
    assert failed == ([FAULTS[name][0]] if FAULTS[name][0] else []), checks


def test_the_load_is_sized_by_the_memory_that_gpu_info_saw(machines: dict[str, Path]) -> None:
    arguments = json.loads((machines["sound"] / "arguments").read_text())
    assert arguments[arguments.index("--load-batch") + 1] == str(24564 // 1024 * 512)
