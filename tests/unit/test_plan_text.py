"""The plan as people read it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.plugin_utils.plan_text import WIDTH, folded, plan_text
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver import resolve
from hypothesis import HealthCheck, given, settings
from lab_machines import TODAY, gpu_facts, system_facts
from test_resolver_properties import machines, pins


def plan(*gpus: str, system: str = "ubuntu 24.04", **inputs: Any) -> dict[str, Any]:
    return resolve(gpu=gpu_facts(*gpus), system=system_facts(system), inputs=inputs, today=TODAY)


def test_a_plan_is_a_table_of_the_stack_with_its_reasons() -> None:
    text = plan_text(plan(system="debian 12", tensorflow_env_manager="venv"))
    assert text == (
        "Debian 12, x86_64, no NVIDIA GPU\n"
        "\n"
        "  Python      3.11.2 at /usr/bin/python3.11       The system's newest interpreter that TensorFlow\n"
        "                                                  2.21.0 has a wheel for.\n"
        "  TensorFlow  2.21.0, CPU build from pip          The newest for Python 3.11 and glibc 2.36; there\n"
        "                                                  is no NVIDIA GPU, so it is the CPU build.\n"
        "\n"
        "  Note        Debian 12 reached its end of life on 2026-07-11; long-term support until 2028-06-30."
    )


def test_what_has_the_same_reason_is_passed_over_in_one_line() -> None:
    text = plan_text(plan("RTX 5090"))
    assert text.partition("Not taken")[2].count("INVALID_PTX") == 1
    assert "TensorFlow 2.21.0 from pip and 22 older" in text


def test_a_refusal_shows_the_reason_and_what_works() -> None:
    text = plan_text({"tower": plan("RTX 5090", tensorflow_version="2.20")})
    assert text.startswith("tower\nUbuntu 24.04, x86_64, RTX 5090\n\n  Refused     The wheels on PyPI")
    assert "What works  - keep the RTX 5090: TensorFlow 2.19.1 from conda-forge" in text


def test_forty_machines_are_grouped_by_identical_plan_with_an_overview_first() -> None:
    fleet = {f"gpu{number:02}": plan("RTX 4090") for number in range(1, 31)}
    fleet |= {f"old{number}.lab": plan("V100") for number in range(8, 17)}
    fleet["mixed"] = plan("RTX 5090", "GTX 1080 Ti")
    text = plan_text(fleet)
    lines = text.splitlines()
    assert lines[0] == "40 machines, 3 different plans, 1 refused"
    assert [line.split()[:2] for line in lines[3:6]] == [["30", "gpu[01-30]"], ["9", "old[8-16].lab"], ["1", "mixed"]]
    assert text.count("2.20.0, CUDA build from pip") == 2
    assert len(lines) < 70


def test_one_kind_of_machine_needs_no_overview() -> None:
    text = plan_text({"a": plan("RTX 4090"), "b": plan("RTX 4090")})
    assert text.startswith("a, b · 2 machines\nUbuntu 24.04")


@pytest.mark.parametrize(
    ("hosts", "text"),
    [
        (["gpu01", "gpu02", "gpu03"], "gpu[01-03]"),
        (["gpu9", "gpu10", "gpu11"], "gpu[9-11]"),
        (["gpu09", "gpu10", "gpu12"], "gpu[09-10], gpu12"),
        (["a1.lab", "a2.lab", "b1.lab"], "a[1-2].lab, b1.lab"),
        (["tower", "10.0.0.7", "10.0.0.8"], "10.0.0.7, 10.0.0.8, tower"),
        (["x1", "x01"], "x01, x1"),
    ],
)
def test_host_names_are_folded(hosts: list[str], text: str) -> None:
    assert folded(hosts) == text


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(machine=machines(), inputs=pins)
def test_no_line_is_wider_than_a_terminal(machine: dict[str, Any], inputs: dict[str, Any]) -> None:
    found = resolve(**machine, inputs=inputs, today=TODAY)
    for text in (plan_text(found), plan_text({f"host{number}": found for number in range(40)})):
        assert max(len(line) for line in text.splitlines()) <= WIDTH
        assert not any(line.endswith(" ") for line in text.splitlines())
