# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the proof makes of a training: each check with a machine that fails it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.plugin_utils.proof import Expected, judge

CPU_RESULT = {
    "dataset": {"name": "ten drawn shapes, seed 1", "source": "generated", "train": 12000, "test": 2000},
    "epochs": 2,
    "devices": [{"kind": "CPU", "name": "CPU:0"}],
    "trained_on": ["CPU:0"],
    "history": [{"loss": 2.0}, {"loss": 0.4}],
    "accuracy": 0.91,
    "seconds_training": 80.0,
    "images_per_s": 1500.0,
}
GPU = {
    "index": 0,
    "window": {"utilization": {"mean": 96.0, "min": 90, "max": 99}},
    "throttled": [],
    "pcie": {"generation": 4, "generation_max": 4, "width": 16, "width_max": 16},
    "processes": [],
    "ecc_errors": 0,
}
ON_GPU = {"devices": [{"kind": "GPU", "name": "GPU:0"}], "trained_on": ["GPU:0"]}


def ended(**result: Any) -> dict[str, Any]:
    return {"rc": 0, "reason": "exited", "result": {**copy.deepcopy(CPU_RESULT), **result}, "telemetry": None}


def on_gpu(**gpu: Any) -> dict[str, Any]:
    return {**ended(**ON_GPU), "telemetry": {"gpus": [{**GPU, **gpu}]}}


def status(job: dict[str, Any], name: str, expected: Expected) -> str:
    return next(check["status"] for check in judge(job, expected) if check["name"] == name)


NONE = Expected(gpus=0)
ONE = Expected(gpus=1, min_utilization=90, min_images_per_s=1000)


def test_a_sound_machine_without_a_gpu_fails_nothing_and_leaves_the_gpu_unchecked():
    found = {check["name"]: check["status"] for check in judge(ended(), NONE)}
    assert {name for name, status in found.items() if status == "passed"} == {
        "training",
        "accuracy",
        "learning",
        "devices",
    }
    assert set(found.values()) == {"passed", "not_checked"}


def test_a_sound_machine_with_a_gpu_passes_everything():
    assert {check["status"] for check in judge(on_gpu(), ONE)} == {"passed"}


@pytest.mark.parametrize(
    ("check", "job", "expected"),
    [
        pytest.param("accuracy", ended(accuracy=0.11), NONE, id="accuracy too low"),
        pytest.param("learning", ended(history=[{"loss": 2.3}, {"loss": 2.3}]), NONE, id="no learning"),
        pytest.param("learning", ended(history=[{"loss": 2.3}, {"loss": float("nan")}]), NONE, id="not a number"),
        pytest.param("devices", ended(), ONE, id="the processor though a GPU is planned"),
        pytest.param("devices", ended(**{**ON_GPU, "trained_on": ["CPU:0"]}), ONE, id="a GPU seen and not used"),
        pytest.param("devices", on_gpu(), Expected(gpus=2), id="one GPU of two"),
        pytest.param("throughput", ended(images_per_s=10), Expected(gpus=0, min_images_per_s=100), id="slow"),
        pytest.param("gpu_utilization", on_gpu(window={"utilization": {"mean": 3.0}}), ONE, id="idle GPU"),
        pytest.param("throttling", on_gpu(throttled=["heat (hardware)"]), ONE, id="throttled"),
        pytest.param("pcie", on_gpu(pcie={**GPU["pcie"], "width": 4}), ONE, id="narrow link"),
        pytest.param("pcie", on_gpu(pcie={**GPU["pcie"], "generation": 1}), ONE, id="slow link"),
        pytest.param(
            "other_processes", on_gpu(processes=[{"pid": 7, "name": "miner", "user": "eve"}]), ONE, id="other process"
        ),
        pytest.param("ecc", on_gpu(ecc_errors=2), ONE, id="memory errors"),
        pytest.param("training", {"rc": 0, "reason": "exited", "result": None}, NONE, id="no result"),
        pytest.param("training", {"rc": -9, "reason": "out_of_memory", "msg": "The job failed"}, NONE, id="memory"),
        pytest.param("training", {"rc": -15, "reason": "timeout", "msg": "The job failed"}, NONE, id="hang"),
        pytest.param("training", {"failed": True, "msg": "no such program"}, NONE, id="never started"),
    ],
)
def test_a_broken_machine_fails(check, job, expected):
    assert status(job, check, expected) == "failed"


@pytest.mark.parametrize(
    ("check", "job"),
    [
        ("gpu_utilization", on_gpu(window={})),
        ("throttling", on_gpu(throttled=None)),
        ("pcie", on_gpu(pcie=None)),
        ("other_processes", on_gpu(processes=None)),
        ("ecc", on_gpu(ecc_errors=None)),
        ("gpu_utilization", {**on_gpu(), "telemetry": None}),
        ("learning", {**on_gpu(), **ended(history=[{"loss": 1.0}], **ON_GPU)}),
        ("accuracy", {"rc": 1, "reason": "exited", "msg": "The job failed"}),
    ],
)
def test_what_was_not_looked_at_is_not_passed(check, job):
    assert status(job, check, ONE) == "not_checked"


@pytest.mark.parametrize(
    ("source", "accuracy", "wanted"),
    [
        ("canonical", 0.66, "failed"),
        ("canonical", 0.67, "passed"),
        ("path", 0.61, "failed"),
        ("path", 0.62, "passed"),
        ("generated", 0.74, "failed"),
        ("generated", 0.75, "passed"),
    ],
)
def test_images_have_a_floor_of_their_own(source, accuracy, wanted):
    job = ended(accuracy=accuracy, dataset={**CPU_RESULT["dataset"], "source": source})
    assert status(job, "accuracy", NONE) == wanted


def test_a_floor_that_is_given_replaces_that_of_the_images():
    assert status(ended(accuracy=0.5), "accuracy", Expected(gpus=0, min_accuracy=0.4)) == "passed"


def test_a_failed_job_says_why():
    job = {"rc": 5, "reason": "exited", "msg": "The job failed: the loss is not a number any more, in epoch 3"}
    assert judge(job, NONE)[0]["detail"] == job["msg"] + "."
