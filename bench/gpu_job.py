# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure what it costs a job to be watched: its supervisor, which samples the GPUs ten times a second.

    python bench/gpu_job.py > docs/bench-gpu_job.md

The GPUs are the stand-in NVML library's. The job keeps every core busy with work of a fixed size, so whatever else runs
slows it down. Each round runs it alone and watched, in turns, so that a busy moment of the machine falls on all.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "tests"), str(REPOSITORY / ".collections")]

from ansible_collections.gpulab.workstation.plugins.module_utils import _job, _telemetry
from support.nvml_stand_in import RTX_4090, answering, compiler

ROUNDS = 7
# A process for each core adds up numbers; the time is the job's own.
WORK = """
import json, os, sys, time
from multiprocessing import Process
began = time.monotonic()
parts = [Process(target=lambda: sum(range(int(sys.argv[1])))) for _core in range(int(sys.argv[2]))]
[part.start() for part in parts], [part.join() for part in parts]
found = {"seconds": time.monotonic() - began, "supervisor": os.getppid()}
open(os.environ["GPULAB_RESULT"], "w").write(json.dumps(found))
"""
NUMBERS, CORES = 500_000_000, len(os.sched_getaffinity(0))
COMMAND = [sys.executable, "-c", WORK, str(NUMBERS), str(CORES)]
# With a process on it, the job's own are looked up in /proc as well.
BUSY = {**RTX_4090, "process": "compute 1 1000"}
TICKS = os.sysconf("SC_CLK_TCK")


class Run(NamedTuple):
    seconds: float  # that the job took
    supervisor: float  # processor seconds of whoever watched
    samples: float  # a second


def alone(directory: Path) -> Run:
    result = directory / "alone.json"
    subprocess.run(COMMAND, check=True, env={**os.environ, "GPULAB_RESULT": str(result)})
    return Run(json.loads(result.read_text(encoding="utf-8"))["seconds"], 0.0, 0.0)


def watched(directory: Path, *, library: str | None) -> Run:
    spec = _job.JobSpec(COMMAND, lease=600)
    recorder = (lambda: _telemetry.recorder(library)) if library else (lambda: None)
    job = _job.start(spec, folder=str(directory), recorder=recorder)
    while not _job.watch(job, offset=0, seconds=10)["ended"]:
        continue
    result = json.loads((Path(job) / "job" / "result.json").read_text(encoding="utf-8"))
    worked = processor_seconds(result["supervisor"])
    outcome = _job.collect(job)
    gpus = (outcome["telemetry"] or {"gpus": []})["gpus"]
    read = sum(value is not None for value in gpus[0]["series"]["utilization"]) if gpus else 0
    return Run(result["seconds"], worked, read / outcome["seconds"])


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def libraries(directory: Path) -> dict[str, str]:
    """The stand-in with one GPU and with eight; a library that is loaded already would be found again by its file."""
    found = {}
    for count in (1, 8):
        path = directory / f"nvml-{count}.so"
        answer = answering(gpus=[{**BUSY, "pci": f"0000:{bus:02x}:00.0"} for bus in range(1, count + 1)])
        shutil.copy(answer, path)
        shutil.copy(answer + ".conf", f"{path}.conf")
        found[f"watched, {count} GPU{'s' if count > 1 else ''} sampled"] = str(path)
    return found


def main() -> None:
    if compiler() is None:
        raise SystemExit("the stand-in for NVML is built with a C compiler: install gcc")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        found = libraries(directory)
        runs: dict[str, list[Run]] = {"alone": [], "watched, nothing sampled": [], **{kind: [] for kind in found}}
        alone(directory)  # once to warm the disk
        for _round in range(ROUNDS):
            for kind, done in runs.items():
                done.append(alone(directory) if kind == "alone" else watched(directory, library=found.get(kind)))
        print(page(runs))


def page(runs: dict[str, list[Run]]) -> str:
    one = next(done for kind, done in runs.items() if " 1 GPU" in kind)
    usual = statistics.median(run.seconds for run in runs["alone"])
    return f"""# What it costs a job to be watched

Measured by `bench/gpu_job.py` on {date.today()}: {CORES} cores, Python {platform.python_version()}, load
{os.getloadavg()[0]:.1f} at the end. The job keeps all cores busy with work of a fixed size, about {usual:.0f} s;
{ROUNDS} rounds, interleaved. The GPUs are the stand-in NVML library's: what NVIDIA's own library takes for an answer
comes on top.

**With one GPU the supervisor takes {share(one):.2f} % of the machine's processor time, at {rate(one):.1f} samples a
second.**

| | job, median | least | against alone | supervisor, of one core | of the machine | samples a second |
|---|---|---|---|---|---|---|
{chr(10).join(row(kind, done, runs["alone"]) for kind, done in runs.items())}

*Against alone* is the median over the rounds of how much longer the job took than alone in the same round. It is only
as good as its spread, which is {spread(runs["alone"]):.1f} % for the job alone; what the supervisor spent is counted by
the kernel, whatever else the machine does."""


def row(kind: str, done: list[Run], alone: list[Run]) -> str:
    seconds = [run.seconds for run in done]
    more = statistics.median(run.seconds / other.seconds - 1 for run, other in zip(done, alone, strict=True))
    cells = [f"{statistics.median(seconds):.2f} s", f"{min(seconds):.2f} s"]
    if done is alone:
        return f"| {kind} | {' | '.join(cells)} | | | | |"
    cells += [f"{more:+.1%}", f"{share(done) * CORES:.2f} %", f"{share(done):.2f} %"]
    return f"| {kind} | {' | '.join(cells)} | {rate(done):.1f} |"


def share(done: list[Run]) -> float:
    """Percent of the processor time of all cores that the supervisor took."""
    return statistics.median(100 * run.supervisor / run.seconds / CORES for run in done)


def rate(done: list[Run]) -> float:
    return statistics.median(run.samples for run in done)


def spread(done: list[Run]) -> float:
    quarters = statistics.quantiles([run.seconds for run in done], n=4)
    return 100 * (quarters[2] - quarters[0]) / quarters[1]


if __name__ == "__main__":
    main()
