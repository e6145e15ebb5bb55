# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure what gpu_info costs: its own work, against nvidia-smi, and against Ansible's own setup.

    python bench/gpu_info.py > docs/bench-gpu_info.md

Every round runs each candidate once, so that a busy moment of the machine falls on all of them. A candidate is a new
process every time: what a module costs on a target is paid on every run.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from datetime import date
from pathlib import Path
from typing import Callable, NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from support.nvml_stand_in import RTX_4090, answering, compiler
from support.pci_tree import MachineTree

ROUNDS = 15
WHOLE_ROUNDS = 7
REPORT = REPOSITORY / "tests/fixtures/nvidia_smi/v13_blackwell_one_lost.xml"

# What runs on a target: Ansible's basic first, as in any module, then ours, compiled from the payload as it comes.
OWN_WORK = """
import sys, time
sys.path.insert(0, sys.argv[1])
import ansible.module_utils.basic
start, worked = time.perf_counter(), time.process_time()
from ansible_collections.gpulab.workstation.plugins.module_utils._gpu import look
look(root=sys.argv[2], nvml_library=sys.argv[3] or None, nvidia_smi=sys.argv[4])
print((time.perf_counter() - start) * 1000, (time.process_time() - worked) * 1000)
"""


class Cost(NamedTuple):
    """Milliseconds: by the clock on the wall, and of the processor. A busy machine stretches the first far more."""

    elapsed: float
    worked: float


def payload(directory: Path) -> Path:
    """The module's code as Ansible sends it: a zip of sources, without bytecode."""
    package = "ansible_collections/gpulab/workstation/plugins/module_utils"
    archive = directory / "payload.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for depth in range(1, package.count("/") + 2):
            file.writestr("/".join(package.split("/")[:depth]) + "/__init__.py", "")
        for source in (REPOSITORY / "plugins/module_utils").glob("_*.py"):
            file.write(source, f"{package}/{source.name}")
    return archive


def own_work(archive: Path, *, root: str = "/", library: str = "", program: str = "") -> Cost:
    """The module's own work, told by the process itself."""
    command = [sys.executable, "-c", OWN_WORK, str(archive), root, library, program]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    elapsed, worked = subprocess.run(command, check=True, capture_output=True, env=environment).stdout.split()
    return Cost(float(elapsed), float(worked))


def whole_run(*command: str) -> Cost:
    """A command from its start to its end, with all the processes that it starts and waits for."""
    start, worked = time.perf_counter(), _cpu_of_children()
    subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY)
    return Cost((time.perf_counter() - start) * 1000, (_cpu_of_children() - worked) * 1000)


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    if compiler() is None:
        raise SystemExit("the stand-in for NVML is built with a C compiler: install gcc")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        archive = payload(directory)
        smi, smi_is = nvidia_smi(directory)
        one, eight = gpu_trees(directory)
        gpus = [{**RTX_4090, "pci": f"0000:{bus:02x}:00.0"} for bus in range(1, 9)]
        library_one = str(shutil.copy(answering(gpus=gpus[:1]), directory / "one.so"))
        shutil.copy(answering(gpus=gpus[:1]) + ".conf", directory / "one.so.conf")
        library_eight = answering(gpus=gpus)
        work = {
            "gpu_info, this machine (no GPU)": lambda: own_work(archive),
            "gpu_info, a GPU and no driver (tree)": lambda: own_work(archive, root=one),
            "gpu_info, 1 GPU by NVML (stand-in)": lambda: own_work(archive, root=one, library=library_one),
            "gpu_info, 8 GPUs by NVML (stand-in)": lambda: own_work(archive, root=eight, library=library_eight),
            f"gpu_info, by nvidia-smi ({smi_is})": lambda: own_work(archive, root=one, program=smi),
            f"nvidia-smi -q -x alone ({smi_is})": lambda: whole_run(smi, "-q", "-x"),
        }
        whole = {
            "ansible -m gpulab.workstation.gpu_info": lambda: ad_hoc("gpulab.workstation.gpu_info"),
            "ansible -m ansible.builtin.setup": lambda: ad_hoc("ansible.builtin.setup"),
            "ansible -m ansible.builtin.ping": lambda: ad_hoc("ansible.builtin.ping"),
        }
        print(page(measure(work, ROUNDS), measure(whole, WHOLE_ROUNDS)))


def ad_hoc(module: str) -> Cost:
    interpreter = f"ansible_python_interpreter={sys.executable}"
    return whole_run("ansible", "localhost", "-i", "localhost,", "-c", "local", "-e", interpreter, "-m", module)


def nvidia_smi(directory: Path) -> tuple[str, str]:
    real = shutil.which("nvidia-smi")
    if real:
        return real, "real"
    stand_in = directory / "nvidia-smi"
    stand_in.write_text(f"#!/bin/sh\nexec cat {REPORT}\n")
    stand_in.chmod(0o755)
    return str(stand_in), "stand-in"


def gpu_trees(directory: Path) -> tuple[str, str]:
    one = MachineTree(directory / "one").kernel("6.8.0-85-generic").gpu("0x2684", driver="nvidia")
    eight = MachineTree(directory / "eight").kernel("6.8.0-85-generic")
    for _bus in range(8):
        eight.gpu("0x2684", driver="nvidia")
    return str(one.root), str(eight.root)


def measure(candidates: dict[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    for run in candidates.values():
        run()  # once to warm the disk
    times: dict[str, list[Cost]] = {name: [] for name in candidates}
    for _round in range(rounds):
        for name, run in candidates.items():
            times[name].append(run())
    return times


def page(work: dict[str, list[Cost]], whole: dict[str, list[Cost]]) -> str:
    info, setup, ping = (statistics.median(cost.worked for cost in costs) for costs in whole.values())
    saved = (setup - ping) / max(info - ping, 1)
    return f"""# What gpu_info costs

Measured by `bench/gpu_info.py` on {date.today()}: {os.cpu_count()} CPU cores, Python {platform.python_version()}, load
{os.getloadavg()[0]:.1f} at the end. A yardstick for the machine as it was: summing ten million numbers in Python took
{yardstick():.0f} ms of CPU. Times are milliseconds. Every round runs each candidate once, in turn, as a new process.

## Its own work on the target

From the moment Python and Ansible's own part of a module are up: loading the module's code from the payload, which is
compiled anew on every run, and reading the machine. {ROUNDS} rounds.

{table(work)}

A stand-in says nothing of the speed of NVIDIA's own code: a real `nvidia-smi` starts, initializes the driver and asks
for far more than is needed. The stand-in only prints a stored report, so its rows are what starting a process and
parsing cost at the least.

## The whole command

From the start of `ansible` on the controller to its end, on localhost. {WHOLE_ROUNDS} rounds. `ping` is what any
module costs.

{table(whole)}

Above that common cost gpu_info takes {info - ping:.0f} ms of CPU, and setup {setup - ping:.0f} ms: {saved:.1f} times as
much."""


def yardstick() -> float:
    start = time.process_time()
    sum(range(10_000_000))
    return (time.process_time() - start) * 1000


def table(costs: dict[str, list[Cost]]) -> str:
    rows = []
    for name, runs in costs.items():
        worked, elapsed = [run.worked for run in runs], [run.elapsed for run in runs]
        times = [statistics.median(worked), min(worked), statistics.median(elapsed), min(elapsed), max(elapsed)]
        rows.append(" | ".join([f"| {name}", *(f"{milliseconds:.1f}" for milliseconds in times)]) + " |")
    head = ["| | CPU, median | CPU, least | wall, median | wall, least | wall, most |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


if __name__ == "__main__":
    main()
