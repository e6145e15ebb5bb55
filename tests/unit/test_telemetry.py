# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the recorder makes of GPUs: the readings come from the stand-in NVML library."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils._telemetry import SERIES, GpuRecorder, Series, recorder
from support import nvml_stand_in

pytestmark = pytest.mark.skipif(
    nvml_stand_in.compiler() is None, reason="NOT CHECKED: no C compiler for the stand-in NVML"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml_stand_in.build(tmp_path_factory.mktemp("nvml"))


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Run:
    """A recorder, and a job that lasts as many tenths of a second as it is given."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.recorder = GpuRecorder(str(path), clock=self.clock)

    def last(self, tenths: int, *, pids: tuple[int, ...] = ()) -> Run:
        for _sample in range(tenths):
            self.recorder.sample(pids=lambda: list(pids))
            self.clock.now += 0.1
        return self

    def mark(self, edge: str) -> Run:
        self.recorder.follow({"event": "mark", "mark": "steps", "edge": edge})
        return self

    @property
    def gpu(self) -> dict:
        return self.recorder.summary()["gpus"][0]


@pytest.fixture
def run(library: Path, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    made = 0

    def run(*gpus: dict) -> Run:
        nonlocal made
        made += 1
        # A copy for each, because a library that is loaded already would be found again by its file.
        path = tmp_path / f"nvml-{made}.so"
        shutil.copy(library, path)
        described = [{**nvml_stand_in.RTX_4090, **gpu} for gpu in gpus or ({},)]
        nvml_stand_in.configure(path, machine=nvml_stand_in.MACHINE, gpus=described)
        return Run(path)

    yield run


def test_a_whole_run_is_summed_up(run):
    gpu = run({"utilization": 97, "power_w": 411, "temperature": 61}).last(20).gpu
    assert gpu["whole"]["utilization"] == {"mean": 97.0, "min": 97, "max": 97}
    assert gpu["whole"]["power_w"]["mean"] == 411.0
    assert gpu["whole"]["temperature_c"]["max"] == 61
    assert gpu["window"] == gpu["whole"]


def test_between_the_marks_is_summed_up_apart(run, library, tmp_path):
    busy = run({"utilization": 98})
    busy.last(10).mark("begin").last(20).mark("end").last(10)
    summary = busy.recorder.summary()
    assert summary["window"] == {"start": 1.0, "end": 2.9}
    figures = busy.recorder._gpus[0]
    assert (figures.whole["utilization"].count, figures.window["utilization"].count) == (40, 20)


def test_each_mark_is_summed_up_by_its_name(run):
    both = run()
    both.recorder.follow({"event": "mark", "mark": "first", "edge": "begin"})
    both.last(2)
    both.recorder.follow({"event": "mark", "mark": "first", "edge": "end"})
    assert "second" not in both.gpu["marks"]
    both.recorder.follow({"event": "mark", "mark": "second", "edge": "begin"})
    both.last(3)
    figures = both.recorder._gpus[0].marked
    assert {mark: read["utilization"].count for mark, read in figures.items()} == {"first": 2, "second": 3}


def test_several_stretches_make_one_window(run):
    several = run().mark("begin").last(5).mark("end").last(50).mark("begin").last(5).mark("end")
    assert several.recorder._gpus[0].window["utilization"].count == 10


def test_a_throttled_gpu_is_named_with_the_reason(run):
    assert run({"throttle_reasons": "0x40"}).last(10).gpu["throttled"] == ["heat (hardware)"]


@pytest.mark.parametrize("reasons", ["0x0", "0x1", "0x4"])
def test_idle_clocks_and_a_power_cap_are_no_fault(run, reasons):
    assert run({"throttle_reasons": reasons}).last(10).gpu["throttled"] == []


def test_throttling_before_the_window_is_not_held_against_it(run):
    marked = run({"throttle_reasons": "0x40"}).last(10).mark("begin")
    assert marked.gpu["throttled"] is None


def test_a_downgraded_link_is_told_with_what_it_could_be(run):
    pcie = run({"pcie_generation": 1, "pcie_width": 4}).last(2).gpu["pcie"]
    assert pcie == {"generation": 1, "width": 4, "generation_max": 4, "width_max": 16}


def test_an_error_of_the_driver_is_told_by_its_number_and_gpu(run):
    both = run({"xid": ["31 0", "48 0"]}, {"pci": "0000:02:00.0"}).last(2)
    assert [gpu["xid_errors"] for gpu in both.recorder.summary()["gpus"]] == [[31, 48], []]


def test_an_error_at_the_very_end_is_not_missed(run):
    late = run({"xid": "79 150"}).last(2)
    assert late.recorder._gpus[0]._xids == []
    time.sleep(0.2)
    assert late.gpu["xid_errors"] == [79]


def test_where_the_driver_tells_of_no_errors_it_is_not_said_that_there_were_none(run):
    assert run({"nvmlDeviceRegisterEvents": "!3"}).last(2).gpu["xid_errors"] is None


def test_the_jobs_own_process_is_no_other(run):
    own = os.getpid()
    gpu = run({"process": f"compute {own} 1000"}).last(2, pids=(own,)).gpu
    assert (gpu["processes"], gpu["used"]) == ([], True)


def test_a_gpu_that_the_job_does_not_compute_on_is_told_apart(run):
    own = os.getpid()
    gpus = run({"process": f"compute {own} 1000"}, {"pci": "0000:02:00.0"}).last(2, pids=(own,))
    found = gpus.recorder.summary()["gpus"]
    assert [(gpu["pci_address"], gpu["used"]) for gpu in found] == [("0000:01:00.0", True), ("0000:02:00.0", False)]


def test_a_process_that_the_job_starts_during_the_look_is_its_own(run):
    """The job's processes are listed after the GPU's: in between one may start, and must not be called a stranger."""
    started: list[int] = []
    watched = run({"process": f"compute {os.getpid()} 1000"})
    device = watched.recorder._gpus[0]._device
    processes = device.processes

    def starting(kind: str) -> list[dict]:
        started.append(os.getpid())
        return processes(kind)

    device.processes = starting
    watched.recorder.sample(pids=lambda: started)
    assert watched.gpu["processes"] == []


def test_another_process_is_named_with_its_user(run):
    with subprocess.Popen(
        ["sh", "-c", "echo started; read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()  # before it speaks, a new process may still have its parent's name
        found = run({"process": f"compute {other.pid} 1000"}).last(2).gpu["processes"]
        other.kill()
    assert [(process["pid"], process["name"]) for process in found] == [(other.pid, "sh")]
    assert found[0]["user"]


def test_a_process_of_another_namespace_leaves_the_question_open(run):
    assert run({"process": "compute 4194303 1000"}).last(2).gpu["processes"] is None


def test_an_unsupported_reading_is_absent_and_not_zero(run):
    gpu = run({"power_w": "!3"}).last(5).gpu
    assert "power_w" not in gpu["whole"]
    assert gpu["errors"] == []


def test_a_gpu_that_is_lost_midway_keeps_what_was_read(run):
    lost = run({"lost_after_ms": 200, "utilization": 50}).last(3)
    time.sleep(0.3)
    gpu = lost.last(3).gpu
    assert gpu["whole"]["utilization"]["mean"] == 50.0
    assert "lost" in gpu["errors"][0]


def test_a_gpu_that_was_lost_before_does_not_hide_the_others(run):
    gpus = run({"lost_after_ms": 0}, {"pci": "0000:02:00.0"}).last(1).recorder.summary()["gpus"]
    assert [gpu["index"] for gpu in gpus] == [1]


def test_each_gpu_is_recorded_apart(run):
    gpus = run({"utilization": 10}, {"utilization": 90, "pci": "0000:02:00.0"}).last(3).recorder.summary()["gpus"]
    assert [gpu["whole"]["utilization"]["mean"] for gpu in gpus] == [10.0, 90.0]


def test_no_library_is_no_error():
    assert recorder("libno-such-nvml.so") is None


def test_a_long_run_fits_the_same_series():
    series = Series()
    for tenth in range(36000):  # an hour
        series.add(tenth / 10, 50 if tenth < 18000 else 100)
    values = series.values()
    assert len(values) <= SERIES
    assert (values[0], values[-1]) == (50.0, 100.0)
    assert series.width * len(values) == pytest.approx(3600, rel=0.05)
