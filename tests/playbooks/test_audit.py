"""audit.yml: what it sees of machines that were as planned and changed since. It changes none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.stand_in_lab import Lab


def finding(code: str, message: str, severity: str = "error") -> dict[str, Any]:
    return {"code": code, "severity": severity, "message": message, "remedy": ""}


def broken(component: str, **evidence: Any) -> Callable[[dict[str, Any]], None]:
    """Have the machine no longer bear out what a component's receipt says."""
    return lambda machine: machine["components"][component].update(intact=False, broken=[evidence])


def age(machine: dict[str, Any]) -> None:
    machine["components"]["cifar10"]["details"]["finished"] = "2020-01-01T00:00:00+00:00"


def offer_drivers(machine: dict[str, Any]) -> None:
    source = {"file": "/etc/apt/sources.list.d/cuda.list", "uri": "https://developer.download.nvidia.com/x/"}
    machine["system"]["foreign_sources"] = [source]


def run_newer_library(machine: dict[str, Any]) -> None:
    machine["gpu"]["findings"] = [finding("driver_mismatch", "The kernel runs driver 1, the libraries are 2.")]


def install_newer_kernel(machine: dict[str, Any]) -> None:
    message = "Kernel 6.9 is installed, newer than the running one, and has no nvidia module."
    machine["gpu"]["findings"] = [finding("next_kernel_without_module", message, "warning")]


# machine: what happens to it after it was proved, the component that is to differ, and the words that say why
CHANGES: dict[str, tuple[Callable[[dict[str, Any]], None], str, str]] = {
    "another-version": (
        broken("nvidia_driver", kind="package", name="libcuda1", expected="580", found="595"),
        "nvidia_driver",
        "package libcuda1 is 595, was 580",
    ),
    "not-held": (
        broken("nvidia_driver", kind="hold", name="libcuda1", expected="held", found=None),
        "nvidia_driver",
        "package libcuda1 is not held any more",
    ),
    "another-source": (offer_drivers, "nvidia_driver", "/etc/apt/sources.list.d/cuda.list"),
    "kernel-ahead": (install_newer_kernel, "nvidia_driver", "Kernel 6.9 is installed, newer than the running one"),
    "library-ahead": (run_newer_library, "nvidia_driver", "The kernel runs driver 1, the libraries are 2."),
    "by-hand": (
        broken("tensorflow", kind="environment", name="/opt/tf", expected="a", found="b"),
        "tensorflow",
        "environment /opt/tf was changed by hand",
    ),
    "old-proof": (age, "cifar10", "proved on 2020-01-01, longer ago than cifar10_max_age (30 days)"),
}


def drifted(record: dict[str, Any]) -> dict[str, list[str]]:
    return {item["component"]: item["reasons"] for item in record["drift"] if item["drifted"]}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab that was proved."""
    lab = Lab(tmp_path_factory.mktemp("lab"), *CHANGES, "untouched")
    for host in lab.inventory:
        lab.give(host, "RTX 4090")
        lab.inventory[host]["cifar10_max_age"] = 30
    run = lab.play("site")
    assert run.code == 0, run.said
    return lab


def test_a_lab_as_planned_passes(lab: Lab) -> None:
    run = lab.play("audit")
    assert run.code == 0, run.said
    assert [drifted(record) for record in run.records.values()] == [{}] * len(lab.inventory)


def test_what_changed_since_is_named_by_machine_and_component_and_left_as_it_is(lab: Lab, tmp_path: Path) -> None:
    for host, (change, _component, _words) in CHANGES.items():
        machine = lab.read(host)
        change(machine)
        lab.change(host, **machine)
    before = {host: lab.read(host) for host in lab.inventory}
    run = lab.play("audit")
    assert run.code != 0
    for host, (_change, component, words) in CHANGES.items():
        assert words in " ".join(drifted(run.records[host])[component]), (host, run.said)
        assert run.recap(host)["failed"] == 1
    assert drifted(run.records["untouched"]) == {}
    assert run.recap("untouched")["failed"] == 0
    assert {host: lab.read(host) for host in lab.inventory} == before
    # The terminal and the page say the same.
    assert "7 of 8 machines are not as planned" in run.said
    assert "[by-hand] tensorflow: environment /opt/tf was changed by hand" in " ".join(run.said.split())
    assert json.dumps("environment /opt/tf was changed by hand") in run.page


def test_a_machine_is_held_to_its_lock(lab: Lab, tmp_path: Path) -> None:
    lock = tmp_path / "lock.yml"
    lab.play("plan", "--limit", "untouched", "-e", f"stack_lock={lock}")
    assert lab.play("audit", "--limit", "untouched", "-e", f"@{lock}").code == 0
    locked = yaml.safe_load(lock.read_text())
    inputs = locked["gpulab_lock"]["hosts"]["untouched"]["inputs"]
    chosen, inputs["tensorflow_version"] = inputs["tensorflow_version"], "2.18.1"
    lock.write_text(yaml.safe_dump(locked))
    run = lab.play("audit", "--limit", "untouched", "-e", f"@{lock}")
    assert run.code != 0
    assert f"tensorflow_version is '{chosen}', planned '2.18.1'" in drifted(run.records["untouched"])["tensorflow"]


def test_a_machine_that_does_not_answer_does_not_pass(lab: Lab) -> None:
    lab.switch_off("untouched")
    run = lab.play("audit", "--limit", "untouched")
    assert run.code != 0
    assert run.records["untouched"]["unreachable"]
