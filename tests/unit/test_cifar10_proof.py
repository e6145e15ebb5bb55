# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the proof makes of a training: each check with a machine that fails it."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.plugin_utils.proof import (
    Expected,
    accept,
    expectation,
    judge,
    kind,
)

CPU_RESULT = {
    "dataset": {"name": "ten drawn shapes, seed 1", "source": "generated", "train": 12000, "test": 2000},
    "recipe": "guide",
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
    "pci_address": "0000:01:00.0",
    "window": {"utilization": {"mean": 40.0, "min": 20, "max": 60}},
    "marks": {"load GPU:0": {"utilization": {"mean": 96.0, "min": 90, "max": 99}}},
    "used": True,
    "throttled": [],
    "pcie": {"generation": 4, "generation_max": 4, "width": 16, "width_max": 16},
    "processes": [],
    "ecc_errors": 0,
    "xid_errors": [],
}
RTX = {"name": "GPU:0", "model": "NVIDIA GeForce RTX 4090", "pci_address": "0000:01:00.0"}
ON_GPU = {
    "devices": [{"kind": "GPU", **RTX}],
    "trained_on": ["GPU:0"],
    "alone": [{**RTX, "images_per_s": 90000.0, "batch_size": 4096}],
}


def ended(**result: Any) -> dict[str, Any]:
    return {"rc": 0, "reason": "exited", "result": {**copy.deepcopy(CPU_RESULT), **result}, "telemetry": None}


def on_gpu(**gpu: Any) -> dict[str, Any]:
    return {**ended(**ON_GPU), "telemetry": {"gpus": [{**GPU, **gpu}]}}


def on_two(rate: float) -> dict[str, Any]:
    """Two GPUs of a model, the second as fast as told."""
    second = {**RTX, "name": "GPU:1", "pci_address": "0000:02:00.0"}
    found = {
        "devices": [*ON_GPU["devices"], {"kind": "GPU", **second}],
        "trained_on": ["GPU:0", "GPU:1"],
        "alone": [*ON_GPU["alone"], {**second, "images_per_s": rate, "batch_size": 4096}],
    }
    return ended(**found)


def accepted(*rates: float, recipe: str = "guide") -> Expected:
    """One GPU, and that many other machines whose proofs were accepted."""
    hosts = {f"desk-{number}": rate for number, rate in enumerate(rates)}
    return Expected(gpus=1, accepted={"NVIDIA GeForce RTX 4090": {recipe: hosts}}, share=0.8)


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
        pytest.param("throughput", on_gpu(), accepted(1900, 2000, 9000), id="slower than the model is known to be"),
        pytest.param("each_gpu", on_two(45000.0), Expected(gpus=2), id="one of two GPUs is slow"),
        pytest.param("gpu_utilization", on_gpu(marks={"load GPU:0": {"utilization": {"mean": 3}}}), ONE, id="idle GPU"),
        pytest.param("devices", on_gpu(used=False), ONE, id="TensorFlow says GPU, NVML saw nothing there"),
        pytest.param("devices", on_gpu(pci_address="0000:02:00.0"), ONE, id="the wrong GPU"),
        pytest.param("throttling", on_gpu(throttled=["heat (hardware)"]), ONE, id="throttled"),
        pytest.param("pcie", on_gpu(pcie={**GPU["pcie"], "width": 4}), ONE, id="narrow link"),
        pytest.param("pcie", on_gpu(pcie={**GPU["pcie"], "generation": 1}), ONE, id="slow link"),
        pytest.param(
            "other_processes", on_gpu(processes=[{"pid": 7, "name": "miner", "user": "eve"}]), ONE, id="other process"
        ),
        pytest.param("ecc", on_gpu(ecc_errors=2), ONE, id="memory errors"),
        pytest.param("xid", on_gpu(xid_errors=[79]), ONE, id="an error of the driver"),
        pytest.param("gpu_utilization", {**on_gpu(), "telemetry": None}, ONE, id="NVML gives no readings"),
        pytest.param("gpu_utilization", on_gpu(marks={}), ONE, id="no reading while the GPU was kept busy"),
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
        ("gpu_utilization", {**on_gpu(), **ended(**{**ON_GPU, "alone": []})}),
        ("each_gpu", {**on_gpu(), **ended(**{**ON_GPU, "alone": []})}),
        ("throttling", on_gpu(throttled=None)),
        ("pcie", on_gpu(pcie=None)),
        ("other_processes", on_gpu(processes=None)),
        ("ecc", on_gpu(ecc_errors=None)),
        ("xid", on_gpu(xid_errors=None)),
        ("throttling", {**on_gpu(), "telemetry": None}),
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


def test_a_slow_gpu_is_named_with_its_place():
    detail = next(check["detail"] for check in judge(on_two(45000.0), Expected(gpus=2)) if check["name"] == "each_gpu")
    assert "GPU:1 (NVIDIA GeForce RTX 4090, 0000:02:00.0) reaches 50%" in detail
    assert status(on_two(80000.0), "each_gpu", Expected(gpus=2)) == "passed"


def test_where_processes_cannot_be_told_apart_tensorflow_is_believed():
    assert status(on_gpu(used=None, pci_address="0000:02:00.0"), "devices", ONE) == "passed"


@pytest.mark.parametrize(("rates", "wanted"), [((1500,), "passed"), ((1870, 10), "passed"), ((1900,), "failed")])
def test_throughput_is_held_to_a_share_of_the_median_of_accepted_proofs(rates, wanted):
    assert status(on_gpu(), "throughput", accepted(*rates)) == wanted


def test_what_another_recipe_or_model_reached_is_not_expected():
    assert status(on_gpu(), "throughput", accepted(9000, recipe="fast")) == "not_checked"
    assert expectation(CPU_RESULT, accepted(9000)) is None


def test_accepting_a_run_adds_its_sound_gpu_machines_once():
    proof = {**ON_GPU, "passed": True, "recipe": "guide", "images_per_s": 1000.0}
    records = [
        {"host": "a", "proof": proof},
        {"host": "b", "proof": {**proof, "passed": False}},
        {"host": "c", "proof": {**CPU_RESULT, "passed": True}},
        {"host": "d", "proof": None},
    ]
    table = accept(records, {"NVIDIA GeForce RTX 4090": {"guide": {"z": 900.0}}})
    assert table == {"NVIDIA GeForce RTX 4090": {"guide": {"z": 900.0, "a": 1000.0}}}
    assert accept(records, table) == table


@pytest.mark.parametrize(
    ("said", "words"),
    [
        *(({"images_per_s": rate}, "its images_per_s is") for rate in ("9000", True, None, 0, -1, math.inf, math.nan)),
        *(({"recipe": recipe}, "its recipe is") for recipe in ("slow", "{{ a }}", None, ["guide"])),
        *(
            ({"devices": [{"kind": "GPU", "model": model}]}, "it calls its GPUs")
            for model in ("{{ a }}", "{% a %}", "{# a #}", "#jinja2:line_statement_prefix:'%'\n% a")
        ),
    ],
)
def test_a_proof_that_no_trainer_writes_is_not_accepted(said, words):
    proof = {**ON_GPU, "passed": True, "recipe": "guide", "images_per_s": 1000.0, **said}
    with pytest.raises(ValueError, match=f"^a: {words}"):
        accept([{"host": "a", "proof": proof}], {})


def test_gpus_are_named_with_their_count():
    assert kind(["B", "A", "B"]) == "A + 2 × B"


@pytest.mark.parametrize(
    ("check", "job"),
    [
        ("devices", on_gpu()),
        ("training", {"rc": 4, "reason": "exited", "msg": "TensorFlow sees 1 GPUs, 2 were expected", "result": None}),
    ],
)
def test_a_gpu_that_tensorflow_does_not_see_is_named_by_what_gpu_info_saw(check, job):
    undriven = {"code": "gpu_undriven", "message": "The driver that runs does not drive RTX 4080 at 0000:02:00.0."}
    link = {"code": "pcie_link_narrow", "message": "RTX 4090 at 0000:01:00.0 uses 8 of its 16 PCIe lanes."}
    found = next(one for one in judge(job, Expected(gpus=2, findings=[undriven, link])) if one["name"] == check)
    assert found["status"] == "failed"
    assert found["detail"].endswith(f". {undriven['message']}")


def test_a_failed_job_says_why():
    job = {"rc": 5, "reason": "exited", "msg": "The job failed: the loss is not a number any more, in epoch 3"}
    assert judge(job, NONE)[0]["detail"] == job["msg"] + "."
