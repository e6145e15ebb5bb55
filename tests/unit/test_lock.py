"""The lock: what is written down comes out again."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.plugin_utils.lock import lock_of_plans
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver import resolve
from hypothesis import HealthCheck, assume, given, settings
from lab_machines import SUPPORTED, TODAY, gpu_facts, system_facts
from test_resolver_properties import machines, pins

NEXT_YEAR = date(2027, 11, 23)
LATER = date(2031, 1, 1)


def locked(machine: dict[str, Any], inputs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a machine's plan and its entry in the lock, if it has one."""
    plan = resolve(**machine, inputs=inputs, today=TODAY)
    return plan, lock_of_plans({"host": plan}, made="2026-11-23")["hosts"].get("host", {})


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(machine=machines(systems=SUPPORTED), inputs=pins)
def test_with_the_lock_the_same_stack_comes_out_another_year(machine: dict[str, Any], inputs: dict[str, Any]) -> None:
    plan, entry = locked(machine, inputs)
    assume(entry)
    for day in (TODAY, NEXT_YEAR, LATER):
        again = resolve(**machine, inputs={**inputs, "stack_lock": entry}, today=day)
        assert again["refusal"] is None, again["refusal"]
        assert again["components"] == plan["components"]
        assert again["stack"] == plan["stack"]


def test_a_lock_keeps_an_older_release_than_auto_would_take() -> None:
    machine = {"gpu": gpu_facts("RTX 4090"), "system": system_facts("ubuntu 24.04")}
    _plan, entry = locked(machine, {"tensorflow_version": "2.18"})
    again = resolve(**machine, inputs={"stack_lock": entry}, today=NEXT_YEAR)
    assert again["stack"]["tensorflow"]["version"] == "2.18.1"


def test_a_lock_that_no_longer_fits_its_machine_is_refused_and_says_what_works() -> None:
    system = system_facts("ubuntu 24.04")
    _plan, entry = locked({"gpu": gpu_facts("RTX 4090"), "system": system}, {})
    refusal = resolve(gpu=gpu_facts("RTX 5090"), system=system, inputs={"stack_lock": entry}, today=NEXT_YEAR)[
        "refusal"
    ]
    assert "RTX 5090" in refusal["message"]
    assert refusal["nearest"][0]["inputs"] == {}


def test_a_pin_that_contradicts_the_lock_is_refused() -> None:
    machine = {"gpu": gpu_facts(), "system": system_facts("debian 12")}
    _plan, entry = locked(machine, {})
    refusal = resolve(**machine, inputs={"stack_lock": entry, "tensorflow_version": "2.19"}, today=TODAY)["refusal"]
    assert refusal["conflict"] == ["tensorflow_version: 2.19", "the lock's 2.21.0"]
    assert len(refusal["nearest"]) == 2


def test_a_host_that_was_refused_has_no_entry() -> None:
    plan = resolve(gpu=gpu_facts(), system=system_facts("centos 7"), inputs={}, today=TODAY)
    assert lock_of_plans({"old": plan}, made="2026-11-23")["hosts"] == {}


def test_machines_that_were_not_planned_keep_their_entry() -> None:
    system = system_facts("debian 12")
    plans = {name: resolve(gpu=gpu_facts(), system=system, inputs={}, today=TODAY) for name in ("a", "b")}
    before = lock_of_plans(plans, made="2026-11-23")
    pinned = resolve(gpu=gpu_facts(), system=system, inputs={"tensorflow_version": "2.20.0"}, today=TODAY)
    after = lock_of_plans({"b": pinned}, made="2026-11-24", before=before)
    assert after["hosts"]["a"] == before["hosts"]["a"]
    assert after["hosts"]["b"]["inputs"]["tensorflow_version"] == "2.20.0"
    assert list(after["hosts"]) == ["a", "b"]


@pytest.mark.parametrize("words", ["a {{ b }}", "{% b %}", "{# b #}", "#jinja2:variable_start_string:'[['\n[[ b ]]"])
def test_words_of_a_machine_that_are_a_template_are_not_written_down(words: str) -> None:
    gpu = gpu_facts("RTX 4090")
    gpu["gpus"][0]["name"] = words
    plan = resolve(gpu=gpu, system=system_facts("debian 12"), inputs={}, today=TODAY)
    plan["components"]["tensorflow"]["tensorflow_python"] = words
    with pytest.raises(ValueError, match=r"^desk-1: it says of itself .*'all:!desk-1'"):
        lock_of_plans({"desk-1": plan}, made="2026-11-23")
