"""Which components differ from the plan, and why."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils._findings import ERROR, RULES
from ansible_collections.gpulab.workstation.plugins.plugin_utils import drift, input_problems
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_model import PINS, SETTINGS

NOW = datetime.datetime(2026, 11, 22, tzinfo=datetime.timezone.utc)
PLAN = {
    "components": {
        "os_prep": {"os_prep_kernel_headers": False},
        "tensorflow": {"tensorflow_version": "2.21.0"},
        "cifar10": {"cifar10_gpus": 0},
    }
}


def machine(**changes: dict) -> dict:
    """A machine that is as planned, but for ``changes`` by component."""
    components = {}
    for name, decided in PLAN["components"].items():
        components[name] = {
            "inputs": drift.wanted_inputs(name, decided, {}),
            "broken": [],
            "details": {"passed": True, "finished": "2026-11-20T12:00:00+00:00"},
            **changes.get(name, {}),
        }
    return {"components": {name: found for name, found in components.items() if not found.get("gone")}}


def drifted(stack: dict, inputs: dict | None = None) -> dict[str, list[str]]:
    found = drift.compare(PLAN, stack, inputs or {}, now=NOW)
    assert [item["component"] for item in found] == list(PLAN["components"])
    return {item["component"]: item["reasons"] for item in found if item["drifted"]}


def test_a_machine_as_planned_has_no_drift():
    assert drifted(machine()) == {}


def test_a_bare_machine_differs_in_every_component():
    assert set(drifted({"components": {}})) == set(PLAN["components"])


GPU = {"gpus": [{"uuid": "GPU-1", "pci_address": "0000:01:00.0"}], "driver": {"loaded": "580.95.05"}, "findings": []}
TABLE = {"NVIDIA GeForce RTX 4090": {"guide": {"desk-1": 10000.0}}}


def proved_on(gpu: dict, **now: str) -> dict:
    """A machine as planned, whose proof recorded what it proved, and where of TensorFlow ``now`` is what it is now."""
    stack = machine(tensorflow={"version": "2.21.0", "digest": "5f1c9a02"})
    stack["components"]["cifar10"]["details"]["stack"] = drift.fingerprint(gpu, stack)
    stack["components"]["tensorflow"].update(now)
    return stack


def reasons_to_prove(stack: dict, gpu: dict) -> list[str]:
    found = drift.compare(PLAN, stack, {}, gpu=gpu, now=NOW)
    return next(item["reasons"] for item in found if item["component"] == "cifar10")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, []),
        ({"driver": {"loaded": "580.65.06"}}, ["running_driver was 580.95.05 when it was proved, is 580.65.06"]),
        (
            {"gpus": [{"uuid": "GPU-2", "pci_address": "0000:01:00.0"}]},
            ["gpus was GPU-1 at 0000:01:00.0 when it was proved, is GPU-2 at 0000:01:00.0"],
        ),
        (
            {"gpus": [{"uuid": "GPU-1", "pci_address": "0000:05:00.0"}]},
            ["gpus was GPU-1 at 0000:01:00.0 when it was proved, is GPU-1 at 0000:05:00.0"],
        ),
        ({"gpus": []}, ["gpus was GPU-1 at 0000:01:00.0 when it was proved, is none"]),
    ],
)
def test_a_proof_holds_for_the_gpus_and_the_driver_it_was_made_with(change, reason):
    assert reasons_to_prove(proved_on(GPU), {**GPU, **change}) == reason


def test_a_proof_is_repeated_when_a_role_alone_has_changed_what_was_proved():
    stack = proved_on(GPU, version="2.20.0")
    assert reasons_to_prove(stack, GPU) == ["tensorflow was 2.21.0 (5f1c9a02) when it was proved, is 2.20.0 (5f1c9a02)"]


def test_a_proof_does_not_hold_for_an_environment_that_was_built_anew_at_the_same_version():
    """As after a run that built another one, with other packages, and was killed before its proof."""
    stack = proved_on(GPU, digest="0b7d41e9")
    assert reasons_to_prove(stack, GPU) == ["tensorflow was 2.21.0 (5f1c9a02) when it was proved, is 2.21.0 (0b7d41e9)"]


def test_what_is_known_of_other_machines_repeats_no_proof():
    assert drifted(machine(), {"cifar10_accepted": TABLE, "cifar10_max_age": 90, "cifar10_timeout": 60}) == {}


def test_a_changed_plan_is_named_with_both_values_and_the_proof_is_repeated():
    old = drift.wanted_inputs("tensorflow", {"tensorflow_version": "2.20.0"}, {})
    assert drifted(machine(tensorflow={"inputs": old})) == {
        "tensorflow": ["tensorflow_version is '2.20.0', planned '2.21.0'"],
        "cifar10": ["tensorflow changes"],
    }


def test_an_input_that_the_inventory_sets_or_drops_is_drift():
    assert drifted(machine(), {"os_prep_open_files": 1000}) == {
        "os_prep": ["os_prep_open_files is 65536, planned 1000"]
    }
    was_set = drift.wanted_inputs("os_prep", PLAN["components"]["os_prep"], {"os_prep_open_files": 1000})
    assert "os_prep" in drifted(machine(os_prep={"inputs": was_set}))


def test_a_password_in_an_input_is_no_drift():
    url = {"tensorflow_index_url": "https://me:secret@mirror.example/simple"}
    recorded = drift.wanted_inputs("tensorflow", PLAN["components"]["tensorflow"], url)
    recorded["tensorflow_index_url"] = "https://mirror.example/simple"
    assert drifted(machine(tensorflow={"inputs": recorded}), url) == {}


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"kind": "package", "name": "gcc", "expected": "12", "found": "13"}, "package gcc is 13, was 12"),
        ({"kind": "hold", "name": "gcc", "expected": "held", "found": None}, "package gcc is not held any more"),
        ({"kind": "file", "name": "/etc/x", "expected": "a", "found": None}, "file /etc/x is gone"),
        ({"kind": "environment", "name": "/e", "expected": "a", "found": "b"}, "environment /e was changed by hand"),
    ],
)
def test_broken_evidence_is_told_in_words(found, words):
    assert drifted(machine(os_prep={"broken": [found]})) == {"os_prep": [words]}


def test_an_old_proof_is_repeated_only_where_an_age_is_set():
    aged = {"cifar10_max_age": 2}
    recorded = drift.wanted_inputs("cifar10", {"cifar10_gpus": 0}, aged)
    stack = machine(cifar10={"inputs": recorded})
    assert drifted(stack, aged) == {}
    stack["components"]["cifar10"]["details"]["finished"] = "2026-11-19T12:00:00+00:00"
    assert drifted(stack, aged) == {"cifar10": ["proved on 2026-11-19, longer ago than cifar10_max_age (2 days)"]}


def test_a_proof_dated_by_a_clock_that_was_wrong_does_not_hold_until_that_day():
    aged = {"cifar10_max_age": 2}
    stack = machine(cifar10={"inputs": drift.wanted_inputs("cifar10", {"cifar10_gpus": 0}, aged)})
    stack["components"]["cifar10"]["details"]["finished"] = "2031-01-01T00:00:00+00:00"
    assert drifted(stack, aged) == {"cifar10": ["proved on 2031-01-01, which is yet to come"]}


def test_a_failed_proof_is_repeated():
    stack = machine()
    stack["components"]["cifar10"]["details"]["passed"] = False
    assert drifted(stack) == {"cifar10": ["the last proof failed"]}


def test_problems_name_the_variable_the_value_and_what_is_allowed():
    cases = {
        "tensorflow_verison": ("2.20.0", "did you mean tensorflow_version?"),
        "tensorflow_build": ("gpu", "value of tensorflow_build must be one of: cpu, cuda, got: gpu"),
        "tensorflow_version": (["2.20.0"], "it is a list, and must be text"),
        "os_prep_open_files": ("many", "many"),
        "os_prep_memlock": ("perhaps", "not a valid boolean"),
        "os_prep_xyzzy_xyzzy_xyzzy": (1, "ansible-doc -t role gpulab.workstation.os_prep"),
    }
    for name, (value, words) in cases.items():
        problems = input_problems.problems({name: value})
        assert len(problems) == 1, (name, problems)
        assert name in problems[0]
        assert words in problems[0]


def test_auto_and_sound_values_are_no_problem():
    sound = {
        "tensorflow_version": "auto",
        "tensorflow_build": "cpu",
        "os_prep_open_files": "4096",
        "unrelated": object(),
    }
    assert input_problems.problems(sound) == []


def test_auto_is_for_what_the_plan_decides():
    decided = dict.fromkeys((*PINS, *SETTINGS), "auto")
    assert input_problems.problems({**decided, "nvidia_driver_display": "auto"}) == []
    for name in ("os_prep_open_files", "tensorflow_prefix", "nvidia_driver_state", "nvidia_driver_hold"):
        (problem,) = input_problems.problems({name: "auto"})
        assert problem.startswith(f"{name} is auto; the plan does not decide it"), problem


def test_an_input_that_outranks_the_plan_is_refused_where_it_says_something_else():
    plan = {"components": {"tensorflow": {"tensorflow_version": "2.21.0"}}}
    assert input_problems.overruled({"tensorflow_version": "2.20.0"}, plan) == [
        "The command line (-e) sets tensorflow_version to 2.20.0 and outranks the plan, which chose 2.21.0: "
        "say tensorflow_version=2.21.0 there, or set it in the inventory."
    ]
    assert input_problems.overruled({"tensorflow_version": "auto"}, plan) == [
        "The command line (-e) sets tensorflow_version to auto and outranks the plan, which chose 2.21.0: "
        "leave it out there, which means the same, or say tensorflow_version=2.21.0."
    ]
    plan = {"components": {"os_prep": {"os_prep_kernel_headers": False}, "cifar10": {"cifar10_gpus": 0}}}
    assert input_problems.overruled({"os_prep_kernel_headers": "false", "cifar10_gpus": "0"}, plan) == []


DRIVER_PLAN = {"components": {"nvidia_driver": {"nvidia_driver_branch": "580"}, "cifar10": {"cifar10_gpus": 1}}}
MISMATCH = "The kernel runs driver 580.65.06, the libraries are 580.95.05."


def driver_drift(*findings: str, receipt: bool = True, gpus: int = 1) -> dict[str, list[str]]:
    """What drifted where the receipts are intact and gpu_info has these findings."""
    stack = {"components": {}}
    for name, decided in DRIVER_PLAN["components"].items():
        details = {"passed": True, "finished": "2026-11-20T12:00:00+00:00"}
        inputs = drift.wanted_inputs(name, decided, {})
        stack["components"][name] = {"inputs": inputs, "broken": [], "details": details}
    if not receipt:
        del stack["components"]["nvidia_driver"]
    gpu = {"gpus": [{}] * gpus, "findings": [{"code": code, "message": MISMATCH} for code in findings]}
    found = drift.compare(DRIVER_PLAN, stack, {}, gpu, now=NOW)
    return {item["component"]: item["reasons"] for item in found if item["drifted"]}


def test_a_driver_that_does_not_serve_is_drift_though_its_receipt_is_intact():
    for code in drift.DRIVER_BROKEN:
        assert driver_drift(code) == {"nvidia_driver": [MISMATCH], "cifar10": ["nvidia_driver changes"]}, code


def test_the_codes_of_a_broken_driver_are_errors_of_gpu_info():
    assert set(drift.DRIVER_BROKEN) <= {rule.code for rule in RULES if rule.severity == ERROR}


def test_what_is_not_the_drivers_fault_is_no_drift_of_it():
    assert driver_drift("gpu_lost", "ecc_uncorrected", "reboot_pending") == {}
    assert driver_drift("dkms_not_built", gpus=0) == {}, "an image is built for another kernel than the running one"


def test_what_no_role_puts_right_is_drift_for_an_audit_alone():
    stack = {**machine(), "system": {"foreign_sources": [{"file": "/etc/x.list", "uri": "https://x.nvidia.com/"}]}}
    plan = {"components": {"nvidia_driver": {}}}
    receipt = {"inputs": drift.wanted_inputs("nvidia_driver", {}, {}), "broken": []}
    stack["components"]["nvidia_driver"] = receipt
    gpu = {"gpus": [{}], "findings": [{"code": "next_kernel_without_module", "message": "Kernel 7 has none."}]}
    assert drift.compare(plan, stack, {}, gpu, now=NOW)[0]["reasons"] == []
    assert drift.compare(plan, stack, {}, gpu, audit=True, now=NOW)[0]["reasons"] == [
        "Kernel 7 has none.",
        "/etc/x.list offers NVIDIA's packages from https://x.nvidia.com/",
    ]


def test_a_driver_that_is_yet_to_be_installed_is_told_once():
    assert driver_drift("driver_absent", receipt=False)["nvidia_driver"] == ["not installed by this collection"]


def test_hosts_that_differ_alike_stand_together_in_the_text():
    as_planned = drift.compare(PLAN, machine(), {}, now=NOW)
    bare = drift.compare(PLAN, {"components": {}}, {}, now=NOW)
    assert drift.text({"a": as_planned, "b": bare, "c": bare}).splitlines() == [
        "a: is as planned, nothing would change",
        "b, c: would change",
        "  os_prep         not installed by this collection",
        "  tensorflow      not installed by this collection",
        "  cifar10         not installed by this collection",
    ]


def proof(*, passed: bool, day: int, stack: dict | None = None) -> dict:
    return {"details": {"passed": passed, "finished": f"2026-11-{day}T12:00:00+00:00", "stack": stack or {}}}


def after(*, driver: str = "580.1", modules: str | None = "open", tensorflow: str = "2.21.0", **cifar10: Any) -> dict:
    """What was seen of a machine: these versions, and a proof."""
    components = {
        "nvidia_driver": {"version": driver},
        "tensorflow": {"version": tensorflow, "details": {"directory": f"/opt/envs/tf-{tensorflow}"}},
        "cifar10": proof(**{"passed": False, "day": 20, **cifar10}),
    }
    return {"stack": {"components": components}, "gpu": {"driver": {"installed": driver, "modules": modules}}}


LAST_PASSED = {"nvidia_driver": "570.1", "tensorflow": "2.20.0"}


@pytest.mark.parametrize(
    ("before", "now", "to_put_back"),
    [
        pytest.param(after(driver="570.1"), after(day=21), ["nvidia_driver"], id="another driver"),
        pytest.param(after(modules="proprietary"), after(day=21), ["nvidia_driver"], id="another flavour"),
        pytest.param(after(modules=None), after(day=21), [], id="a flavour that was not known"),
        pytest.param(after(tensorflow="2.20.0"), after(day=21), ["tensorflow"], id="another environment"),
        pytest.param(
            after(driver="570.1", tensorflow="2.20.0"), after(day=21), ["tensorflow", "nvidia_driver"], id="both"
        ),
        pytest.param(after(driver="570.1"), after(day=21, passed=True), [], id="the proof passed"),
        pytest.param(after(driver="570.1"), after(), [], id="no proof was made"),
        pytest.param(after(), after(day=21), [], id="nothing has changed"),
        pytest.param(
            after(passed=True, stack=LAST_PASSED),
            after(day=21),
            ["tensorflow", "nvidia_driver"],
            id="an earlier run changed both, and they waited for a restart until now",
        ),
        pytest.param(after(stack=LAST_PASSED), after(day=21), [], id="what was before has not passed either"),
    ],
)
def test_after_a_failed_proof_goes_back_what_has_changed_since_the_last_that_passed(before, now, to_put_back):
    assert drift.unproved(now["gpu"], now["stack"], before) == to_put_back


def test_a_machine_that_was_bare_has_nothing_to_go_back_to():
    bare = {"stack": {"components": {}}, "gpu": {"driver": {"installed": None, "modules": None}}}
    now = after(day=21)
    assert drift.unproved(now["gpu"], now["stack"], bare) == []
