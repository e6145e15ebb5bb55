"""Which GPUs a machine should have and has not: by its last proof, and by its inventory."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.plugin_utils.drift import fingerprint
from ansible_collections.gpulab.workstation.plugins.plugin_utils.missing import missing_gpus
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver import resolve
from unit.lab_machines import gpu_facts, system_facts

LOST = {
    "code": "gpu_lost",
    "message": "NVIDIA RTX 4090 at 0000:02:00.0 has fallen off the bus.",
    "remedy": "Power the machine off and on.",
}


def seen(*gpus: str, driver: str | None = "580.95.05", **second: Any) -> dict[str, Any]:
    """What gpu_info says of these GPUs; `second` of the second. By a driver that runs each has a UUID."""
    facts = {**gpu_facts(*gpus, driver=driver), "findings": []}
    for card in facts["gpus"] if driver else []:
        card["uuid"] = f"GPU-{card['name']}-{card['index']}"
    if second:
        facts["gpus"][1].update(second)
    return facts


def missing(now: dict[str, Any], *, proved: dict[str, Any] | None = None, **inputs: Any) -> list[str]:
    """Of a machine that is planned for now, and whose last proof was made with the GPUs of ``proved``."""
    stack: dict[str, Any] = {"components": {}}
    if proved:
        receipt = {"inputs": {"cifar10_gpus": planned(proved)}, "details": {"stack": fingerprint(proved, stack)}}
        stack["components"]["cifar10"] = receipt
    return missing_gpus(plan(now, **inputs), stack, inputs, now)


def plan(gpu: dict[str, Any], **inputs: Any) -> dict[str, Any]:
    return resolve(gpu=gpu, system=system_facts("debian 12"), inputs=inputs, today=date(2026, 11, 23))


def planned(gpu: dict[str, Any]) -> int:
    return plan(gpu)["components"]["cifar10"]["cifar10_gpus"]


TWO = seen("RTX 4090", "RTX 4090")


def test_one_that_left_the_bus_since_the_proof_is_named_with_its_slot_and_the_way_out():
    (said,) = missing(seen("RTX 4090"), proved=TWO)
    assert "It was last proved with 2 GPUs and has 1: GPU-NVIDIA RTX 4090-1 at 0000:02:00.0 left the PCI bus." in said
    assert "set cifar10_gpus: 1" in said


def test_the_last_one_that_left_is_missed():
    assert "last proved with 1 GPU and has 0" in missing(seen(), proved=seen("RTX 4090"))[0]


def test_one_is_missed_by_its_slot_where_no_driver_runs():
    (said,) = missing(seen("RTX 4090", driver=None), proved=TWO)
    assert "GPU-NVIDIA RTX 4090-1 at 0000:02:00.0 left" in said
    assert "0000:01:00.0" not in said


def test_one_that_moved_as_the_bus_was_numbered_anew_is_not_the_one_that_left():
    now = seen("RTX 4090")
    now["gpus"][0]["uuid"] = "GPU-NVIDIA RTX 4090-1"
    (said,) = missing(now, proved=TWO)
    assert "GPU-NVIDIA RTX 4090-0 at 0000:01:00.0 left" in said
    assert "4090-1" not in said


def test_a_proof_that_failed_after_one_had_left_is_held_to_what_was_planned():
    stack = {"components": {"cifar10": {"inputs": {"cifar10_gpus": 2}, "details": {}}}}
    stack["components"]["cifar10"]["details"]["stack"] = fingerprint(seen("RTX 4090"), stack)
    now = seen("RTX 4090")
    assert "last proved with 2 GPUs and has 1." in missing_gpus(plan(now), stack, {}, now)[0]


@pytest.mark.parametrize(
    ("now", "inputs"),
    [
        pytest.param(TWO, {}, id="as it was"),
        pytest.param(seen("RTX 3090", "RTX 3090"), {}, id="replaced"),
        pytest.param(seen("RTX 4090", "RTX 4090", "RTX 4090"), {}, id="one more"),
        pytest.param(seen("RTX 4090"), {"cifar10_gpus": 1}, id="taken out, and stated so"),
        pytest.param(TWO, {"tensorflow_build": "cpu"}, id="the CPU build was asked for"),
        pytest.param(seen("RTX 4090", "RTX 4090", state="passed_through", uuid=None), {}, id="given to a guest"),
        pytest.param(seen("RTX 4090", "RTX 4090", state="undriven", uuid=None), {}, id="the driver is yet to drive it"),
        pytest.param({**seen("RTX 4090"), "other_gpus": [{"vendor": "AMD"}]}, {"cifar10_gpus": 1}, id="another vendor"),
    ],
)
def test_none_is_missed(now, inputs):
    assert missing(now, proved=TWO, **inputs) == []


def test_a_machine_that_was_never_proved_is_held_to_its_inventory():
    assert missing(seen("RTX 4090")) == []
    assert missing(seen("RTX 4090"), cifar10_gpus=2) == ["The inventory states cifar10_gpus: 2, and 1 can compute."]


@pytest.mark.parametrize("proved", [None, TWO])
def test_one_that_is_lost_is_named_before_anything_is_planned_with_it(proved):
    now = {**seen("RTX 4090", "RTX 4090", state="lost"), "findings": [LOST]}
    assert missing(now, proved=proved) == [f"{LOST['message']} {LOST['remedy']}"]
    assert missing(now, proved=proved, cifar10_gpus=2)[0].startswith(LOST["message"])
    assert missing(now, proved=proved, cifar10_gpus=1) == [], "it is left in the machine, and stated so"


def test_one_that_was_given_to_a_virtual_machine_is_not_planned_with():
    assert planned(seen("RTX 4090", "RTX 4090", state="passed_through")) == 1
