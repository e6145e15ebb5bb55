"""rollout.yml: a lab goes wave by wave, stops where it must, and goes on where it was left."""

from __future__ import annotations

import itertools
import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.stand_in_lab import Lab, Run

MISMATCH = {
    "code": "driver_mismatch",
    "severity": "error",
    "message": "The driver's library is 580.1, the loaded module 535.1.",
    "remedy": "Restart the machine.",
}
WORK = {"pid": 4242, "user": "ada", "name": "python3", "kind": "compute", "memory_mib": 18000}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path, *(f"desk-{number}" for number in range(1, 5)))


def rollout(lab: Lab, **settings: Any) -> Run:
    chosen = {"rollout_waves": [1, 2, "100%"], "rollout_failures": 1, **settings}
    return lab.play("rollout", "-e", json.dumps(chosen))


def touched(lab: Lab) -> list[str]:
    return [host for host in lab.inventory if lab.read(host)["journal"]]


def occupy(lab: Lab, host: str, *processes: dict[str, Any]) -> None:
    lab.give(host, "RTX 4090")
    gpu = lab.read(host)["gpu"]
    gpu["gpus"][0]["processes"] = list(processes)
    lab.change(host, gpu=gpu)


def waves(run: Run) -> list[tuple[str, ...]]:
    """The hosts of the waves, as they were announced."""
    return [tuple(found.split(", ")) for found in re.findall(r"^Wave \d of \d: (.*)$", run.said, re.MULTILINE)]


def test_a_lab_goes_wave_by_wave_and_a_second_run_has_nothing_left(lab: Lab) -> None:
    run = rollout(lab, rollout_canary=["desk-3"])
    assert run.code == 0, run.said
    assert waves(run) == [("desk-3",), ("desk-1", "desk-2"), ("desk-4",)]
    assert all(record["proved_now"] for record in run.records.values())
    turns = [run.records[host]["turn"] for host in ("desk-3", "desk-1", "desk-4")]
    for before, after in itertools.pairwise(turns):
        assert before["began"] < before["ended"] < after["began"]
    assert re.search(r"^waves +1: 1 proved; \d+ s\n +2: 2 proved; \d+ s\n +3: 1 proved; \d+ s$", run.said, re.MULTILINE)
    again = rollout(lab)
    assert again.code == 0, again.said
    assert waves(again) == []
    assert [record["converged"] for record in again.records.values()] == [[]] * 4


def test_a_canary_that_fails_stops_everything(lab: Lab) -> None:
    lab.change("desk-1", trouble={"tensorflow": "no room left"})
    run = rollout(lab)
    assert run.code != 0
    assert touched(lab) == ["desk-1"]
    assert run.records["desk-1"]["failed"]["message"] == "desk-1: no room left"
    for host in ("desk-2", "desk-4"):
        assert run.records[host]["skipped"] == "The first wave tolerates no failure, and desk-1 failed."
        assert run.recap(host)["failed"] == 0

    lab.change("desk-1", trouble={})
    again = rollout(lab)
    assert again.code == 0, again.said
    assert again.records["desk-1"]["converged"] == ["tensorflow", "cifar10"]
    assert all(record["proved_now"] for record in again.records.values())


def test_a_canary_that_is_lost_stops_everything_and_is_reported(lab: Lab) -> None:
    lab.change("desk-1", trouble={"os_prep": "lost"})
    run = rollout(lab)
    assert run.code != 0
    assert touched(lab) == []
    assert run.records["desk-1"]["unreachable"]
    assert run.records["desk-2"]["skipped"] == "The first wave tolerates no failure, and desk-1 failed."


def test_a_machine_with_other_gpus_than_planned_for_is_not_changed(lab: Lab) -> None:
    lab.give("desk-2", "RTX 4090")
    # It loses its GPU while the canary has its turn.
    lab.change("desk-1", meanwhile={"os_prep": {"desk-2": {"gpus": []}}})
    run = rollout(lab)
    assert run.code != 0
    assert lab.read("desk-2")["journal"] == []
    assert "has other GPUs than it had when it was planned for" in run.records["desk-2"]["failed"]["message"]


def hooks(journal: Path, reports: Path) -> dict[str, str]:
    """Settings by which draining and undraining are written down, with reports that are kept from run to run."""
    commands = {
        f"rollout_{word}_command": f"sh -c 'echo {word} {{{{ inventory_hostname }}}} >> {journal}'"
        for word in ("drain", "undrain")
    }
    return {**commands, "gpulab_report_directory": str(reports)}


def test_a_drained_machine_is_given_back_in_every_outcome_but_a_failure(lab: Lab, tmp_path: Path) -> None:
    journal = tmp_path / "slurm"
    settings = hooks(journal, tmp_path / "kept")
    occupy(lab, "desk-3", WORK)
    lab.change("desk-2", trouble={"tensorflow": "no room left"})
    run = rollout(lab, **settings)
    said = journal.read_text().splitlines()
    assert {line for line in said if line.startswith("drain")} == {f"drain {host}" for host in lab.inventory}
    assert {line for line in said if line.startswith("undrain")} == {
        f"undrain {host}" for host in lab.inventory if host != "desk-2"
    }, run.said
    assert "[desk-3] It is in use: python3 of ada computes on GPU 0." in run.said
    assert waves(run)[-1][-1] == "desk-3"
    # A person mends it; the next run finds it as planned, and gives it back.
    lab.change("desk-2", trouble={})
    assert lab.play("site", "--limit", "desk-2").code == 0
    journal.write_text("")
    occupy(lab, "desk-3")
    again = rollout(lab, **settings)
    assert again.code == 0, again.said
    assert journal.read_text().splitlines() == ["undrain desk-2", "drain desk-3", "undrain desk-3"]


def test_a_machine_that_waits_for_its_restart_stays_drained_until_it_had_it(lab: Lab, tmp_path: Path) -> None:
    journal = tmp_path / "slurm"
    settings = hooks(journal, tmp_path / "kept")
    lab.give("desk-1", "RTX 4090")
    lab.inventory["desk-1"]["nvidia_driver_reboot"] = "never"
    lab.change("desk-1", after={"nvidia_driver": {"findings": [MISMATCH]}})
    run = rollout(lab, **settings)
    assert run.code == 0, run.said
    assert journal.read_text().splitlines() == ["drain desk-1"]
    assert "Nothing is proved yet" in run.said
    assert "desk-1 stays drained" in run.said
    journal.write_text("")
    lab.find("desk-1")  # a person has restarted it
    again = rollout(lab, **settings)
    assert again.code == 0, again.said
    assert journal.read_text().splitlines()[:2] == ["drain desk-1", "undrain desk-1"]
    assert "4 machines, none needs a person; 4 proved by this run." in again.said


def test_outside_the_maintenance_window_no_wave_begins(lab: Lab) -> None:
    later = datetime.now() + timedelta(hours=2)
    window = f"{later:%H:%M}-{later + timedelta(hours=1):%H:%M}"
    run = rollout(lab, rollout_window=window)
    assert run.code == 0, run.said
    assert touched(lab) == []
    for host in lab.inventory:
        assert run.records[host]["skipped"].startswith(f"The maintenance window is {window}, and it is ")
        assert run.records[host]["turn"] is None
    assert run.said.count("It does not begin.") == 3
    assert "4 of 4 machines were left for later; none failed." in run.said
    assert re.search(r"^waves +1: 1 skipped; not begun$", run.said, re.MULTILINE)


def test_when_too_many_failed_no_further_wave_begins_and_the_summary_says_what_was_put_back(lab: Lab) -> None:
    lab.inventory["desk-2"]["tensorflow_version"] = "2.19.1"
    assert lab.play("site", "--limit", "desk-2").code == 0
    lab.inventory["desk-2"]["tensorflow_version"] = "2.20.0"
    lab.change("desk-2", trouble={"cifar10": "the proof failed."})
    run = rollout(lab, rollout_failures=0)
    assert run.code != 0
    # The wave that had begun ends for all its machines.
    assert [host for host, record in run.records.items() if record["proved_now"] and not record["failed"]] == [
        "desk-1",
        "desk-3",
    ]
    reason = "desk-2 failed: that is 1 of 4 machines, and rollout_failures allows 0."
    assert run.records["desk-4"]["skipped"] == reason
    assert lab.read("desk-4")["journal"] == []
    assert run.records["desk-2"]["rolled_back"] == "TensorFlow 2.19.1"
    assert run.records["desk-2"]["turn"]["ended"] >= run.records["desk-3"]["turn"]["began"]
    assert re.search(r"^desk-2 +rolled back ", run.said, re.MULTILINE)
    assert re.search(r"^ +2: 1 rolled back, 1 proved; \d+ s$", run.said, re.MULTILINE)
    assert re.search(rf"^left +\[desk-4\] {re.escape(reason)}$", run.said, re.MULTILINE)
    assert "the proof failed. Put back: TensorFlow 2.19.1." in run.said
    assert run.recap("desk-4")["failed"] == 0


def test_a_machine_in_use_is_waited_for_and_left_when_it_does_not_become_free(lab: Lab) -> None:
    occupy(lab, "desk-3", WORK)
    occupy(lab, "desk-4", WORK)
    free = {**lab.read("desk-3")["gpu"], "gpus": [{**lab.read("desk-3")["gpu"]["gpus"][0], "processes": []}]}
    busy = lab.read("desk-3")["gpu"]
    # When it is planned for, when its turn comes, and then every half minute.
    lab.change("desk-3", looks=[busy, busy, free])
    run = rollout(lab, rollout_waves=[2, "100%"], rollout_wait=1)
    assert run.code == 0, run.said
    assert waves(run) == [("desk-1", "desk-2"), ("desk-3", "desk-4")]
    assert run.records["desk-3"]["proved_now"]
    assert lab.read("desk-4")["journal"] == []
    assert run.records["desk-4"]["skipped"] == "It is in use: python3 of ada computes on GPU 0."
    turn = run.records["desk-4"]["turn"]
    assert turn["ended"] - turn["began"] >= 60
