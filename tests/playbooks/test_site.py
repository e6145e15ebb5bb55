"""site.yml for machines that go wrong: each ends in the report as what became of it, and none stops the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.stand_in_lab import Lab
from unit import lab_machines

MISMATCH = {
    "code": "driver_mismatch",
    "severity": "error",
    "message": "The kernel runs driver 580.65.06, the libraries are 580.95.05.",
    "remedy": "Reboot: the driver was upgraded while the old one was running.",
}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, "desk-1", "desk-2")


def test_all_is_well(lab: Lab) -> None:
    run = lab.play("site")
    assert run.code == 0, run.said
    assert {host: record["converged"] for host, record in run.records.items()} == {
        host: ["os_prep", "anaconda", "tensorflow", "cifar10"] for host in ("desk-1", "desk-2")
    }
    again = lab.play("site")
    assert again.code == 0, again.said
    assert [record["converged"] for record in again.records.values()] == [[], []]


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Shanghai"])
def test_a_proof_is_of_its_run_in_every_time_zone(lab: Lab, zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    first, again = (lab.play("site", "--limit", "desk-1").records["desk-1"] for _run in range(2))
    assert [record["proved_now"] for record in (first, again)] == [True, False]


def test_a_limited_run_reports_its_own_machines(lab: Lab) -> None:
    run = lab.play("site", "--limit", "desk-2")
    assert run.code == 0, run.said
    assert set(run.records) == {"desk-2"}


def test_a_machine_that_does_not_answer_is_reported_and_stops_no_other(lab: Lab) -> None:
    lab.switch_off("desk-1")
    run = lab.play("site")
    assert run.code != 0, run.said
    assert run.records["desk-1"]["unreachable"]
    assert "Connection refused" in run.records["desk-1"]["failed"]["message"]
    assert run.records["desk-2"]["proved_now"]


def test_a_lab_that_does_not_answer_is_reported_all_the_same(lab: Lab) -> None:
    for host in lab.inventory:
        lab.switch_off(host)
    run = lab.play("site")
    assert run.code != 0, run.said
    assert [record["unreachable"] for record in run.records.values()] == [True, True]
    assert "run again for this machine" in run.said


def test_a_machine_lost_on_the_way_is_told_with_what_was_done_by_then(lab: Lab) -> None:
    lab.change("desk-1", trouble={"tensorflow": "lost"})
    run = lab.play("site")
    assert run.code != 0, run.said
    lost = run.records["desk-1"]
    assert lost["unreachable"]
    assert lost["converged"] == ["os_prep", "anaconda"]
    assert "tensorflow" in lost["failed"]["message"]
    assert run.records["desk-2"]["proved_now"]


def test_what_was_done_before_a_failure_is_told(lab: Lab) -> None:
    lab.change("desk-1", trouble={"tensorflow": "no room left"})
    run = lab.play("site")
    assert run.code != 0, run.said
    assert run.records["desk-1"]["converged"] == ["os_prep", "anaconda"]
    assert run.records["desk-1"]["failed"]["message"] == "desk-1: no room left"
    assert not run.records["desk-1"]["unreachable"]
    assert run.recap("desk-2")["failed"] == 0


def test_the_plans_of_the_others_are_shown_when_one_cannot_be_compared(lab: Lab) -> None:
    lab.change("desk-1", components={"cifar10": "not a receipt"})
    run = lab.play("plan")
    assert run.code != 0, run.said
    assert "desk-2: would change" in run.said
    assert run.recap("desk-2")["failed"] == 0


def test_a_choice_of_the_command_line_that_outranks_the_plan_is_refused_before_the_first_change(lab: Lab) -> None:
    run = lab.play("site", "--limit", "desk-1", "-e", "tensorflow_version=auto")
    assert run.code != 0, run.said
    assert "leave it out there" in run.records["desk-1"]["failed"]["message"]
    assert lab.read("desk-1")["journal"] == []


def test_a_lock_of_some_machines_keeps_the_entries_of_the_others(lab: Lab, tmp_path: Path) -> None:
    lock = tmp_path / "lock.yml"
    assert lab.play("plan", "-e", f"stack_lock={lock}", "-e", "tensorflow_version=2.20.0").code == 0
    assert lab.play("plan", "-e", f"stack_lock={lock}", "--limit", "desk-2").code == 0
    hosts = yaml.safe_load(lock.read_text())["gpulab_lock"]["hosts"]
    assert hosts["desk-1"]["inputs"]["tensorflow_version"] == "2.20.0"
    assert hosts["desk-2"]["inputs"]["tensorflow_version"] != "2.20.0"


def test_a_driver_that_broke_is_seen_brought_back_and_proved_again(lab: Lab) -> None:
    lab.give("desk-1", "RTX 4090")
    assert lab.play("site", "--limit", "desk-1").code == 0
    lab.find("desk-1", MISMATCH)
    lab.change("desk-1", after={"nvidia_driver": {"findings": []}})
    run = lab.play("site", "--limit", "desk-1")
    assert run.code == 0, run.said
    assert MISMATCH["message"] in run.said
    assert run.records["desk-1"]["converged"] == ["nvidia_driver", "cifar10"]


def test_a_proof_before_the_restart_that_the_driver_needs_is_not_checked_and_no_failure(lab: Lab) -> None:
    lab.give("desk-1", "RTX 4090")
    lab.inventory["desk-1"]["nvidia_driver_reboot"] = "never"
    lab.change("desk-1", after={"nvidia_driver": {"findings": [MISMATCH]}}, trouble={"cifar10": "no GPU"})
    run = lab.play("site", "--limit", "desk-1")
    assert run.code == 0, run.said
    assert "cifar10" not in run.records["desk-1"]["converged"]
    assert "desk-1 was brought to its plan, and is not proved." in run.said
    assert "proof: Restart pending" in run.said

    lab.find("desk-1")
    lab.change("desk-1", trouble={})
    run = lab.play("site", "--limit", "desk-1")
    assert run.code == 0, run.said
    assert run.records["desk-1"]["converged"] == ["cifar10"]
    assert run.records["desk-1"]["proved_now"]


def test_a_driver_that_stays_broken_where_it_may_restart_fails_the_run(lab: Lab) -> None:
    lab.give("desk-1", "RTX 4090")
    lab.change("desk-1", after={"nvidia_driver": {"findings": [MISMATCH]}})
    run = lab.play("site", "--limit", "desk-1")
    assert run.code != 0, run.said
    assert MISMATCH["message"] in run.records["desk-1"]["failed"]["message"]


def test_machines_that_lack_different_things_each_get_them_in_the_order_of_the_plan(lab: Lab) -> None:
    lab.give("desk-2", "RTX 4090")
    run = lab.play("site", "--limit", "desk-1,desk-2")
    assert run.code == 0, run.said
    assert lab.read("desk-1")["journal"] == ["os_prep", "anaconda", "tensorflow", "cifar10"]
    assert lab.read("desk-2")["journal"] == ["os_prep", "nvidia_driver", "anaconda", "tensorflow", "cifar10"]


def driver(version: str) -> dict[str, Any]:
    return {"driver": {**lab_machines.gpu_facts("RTX 4090")["driver"], "installed": version, "loaded": version}}


@pytest.fixture
def proved(lab: Lab) -> Lab:
    """A machine that was proved with driver 535.1 and TensorFlow 2.19.1, and is to get newer ones."""
    lab.give("desk-1", "RTX 4090")
    lab.inventory["desk-1"] |= {
        "tensorflow_version": "2.19.1",
        "nvidia_driver_branch": "535",
        "nvidia_driver_modules": "proprietary",
    }
    lab.change("desk-1", after={"nvidia_driver": driver("535.1")})
    run = lab.play("site", "--limit", "desk-1")
    assert run.code == 0, run.said
    newer = {"tensorflow_version": "2.20.0", "nvidia_driver_branch": "580", "nvidia_driver_modules": "open"}
    lab.inventory["desk-1"] |= newer
    lab.change("desk-1", journal=[], trouble={"cifar10": "the proof failed."})
    lab.change("desk-1", after={"nvidia_driver": driver("580.1"), "nvidia_driver back": driver("535.1")})
    return lab


def test_what_a_failed_proof_was_a_proof_of_is_put_back_and_the_run_fails(proved: Lab) -> None:
    run = proved.play("site", "--limit", "desk-1")
    assert run.code != 0, run.said
    assert proved.read("desk-1")["journal"][-3:] == ["cifar10", "tensorflow back", "nvidia_driver back"]
    said = run.records["desk-1"]["failed"]["message"]
    assert said == "desk-1: the proof failed. Put back: TensorFlow 2.19.1, driver 535.1."


def test_a_proof_that_fails_after_the_restart_it_waited_for_puts_the_driver_back_all_the_same(proved: Lab) -> None:
    proved.inventory["desk-1"]["nvidia_driver_reboot"] = "never"
    waits = {"nvidia_driver": {**driver("580.1"), "findings": [MISMATCH]}, "nvidia_driver back": driver("535.1")}
    proved.change("desk-1", after=waits)
    assert proved.play("site", "--limit", "desk-1").code == 0
    proved.find("desk-1")
    run = proved.play("site", "--limit", "desk-1")
    assert run.code != 0, run.said
    assert run.records["desk-1"]["converged"] == []
    assert "Put back: TensorFlow 2.19.1, driver 535.1." in run.records["desk-1"]["failed"]["message"]


def test_a_way_back_that_is_barred_is_told_beside_the_proof(proved: Lab) -> None:
    proved.change("desk-1", trouble={"cifar10": "the proof failed.", "nvidia_driver back": "No source offers it."})
    run = proved.play("site", "--limit", "desk-1")
    assert run.code != 0, run.said
    said = run.records["desk-1"]["failed"]["message"]
    assert said == "desk-1: the proof failed. What was before could not be put back: No source offers it."


def test_a_proof_that_could_not_be_made_puts_nothing_back(proved: Lab) -> None:
    proved.change("desk-1", trouble={"tensorflow": "no room left"})
    run = proved.play("site", "--limit", "desk-1")
    assert run.code != 0, run.said
    assert [entry for entry in proved.read("desk-1")["journal"] if "back" in entry] == []
