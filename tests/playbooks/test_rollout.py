"""rollout.yml: a lab goes wave by wave, stops where it must, and goes on where it was left."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from support.stand_in_lab import Lab, Run

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
    assert run.records["desk-1"]["failed"]["message"] == "no room left"
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


def test_a_drained_machine_is_given_back_in_every_outcome_but_a_failure(lab: Lab, tmp_path: Path) -> None:
    journal = tmp_path / "slurm"
    hooks = {
        f"rollout_{word}_command": f"sh -c 'echo {word} {{{{ inventory_hostname }}}} >> {journal}'"
        for word in ("drain", "undrain")
    }
    hooks["gpulab_report_directory"] = str(tmp_path / "kept")  # a lab keeps its reports
    occupy(lab, "desk-3", WORK)
    lab.change("desk-2", trouble={"tensorflow": "no room left"})
    run = rollout(lab, **hooks)
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
    again = rollout(lab, **hooks)
    assert again.code == 0, again.said
    assert journal.read_text().splitlines() == ["undrain desk-2", "drain desk-3", "undrain desk-3"]
