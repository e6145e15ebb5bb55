"""rollout.yml and audit.yml for a lab of twelve machines of four systems, over SSH: see tests/support/ssh_fleet.

Each test goes on where the one before left the lab.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.ssh_fleet import SYSTEMS, Fleet, docker, image

DESKS = [f"desk-{number:02}" for number in range(1, 13)]
COMPONENTS = ["os_prep", "tensorflow", "cifar10"]
SETTINGS: dict[str, Any] = {
    "tensorflow_env_manager": "venv",
    "rollout_waves": [1, 3, "100%"],
    "rollout_failures": 1,
}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    images = [image(system) for system in SYSTEMS]
    with Fleet(tmp_path_factory.mktemp("fleet"), dict(zip(DESKS, images * 3, strict=True))) as fleet:
        fleet.variables = SETTINGS
        yield fleet


def wait_until(true: Callable[[], bool], process: subprocess.Popen[str], *, within_s: int = 900) -> None:
    """Raises AssertionError where the process ends before, or the time is up."""
    deadline = time.monotonic() + within_s
    while not true():
        assert process.poll() is None, "the run ended before"
        assert time.monotonic() < deadline
        time.sleep(0.1)


def forget(fleet: Fleet) -> None:
    for host in DESKS:
        fleet.file(host, "journal").unlink(missing_ok=True)


def test_a_canary_whose_proof_fails_stops_everything(fleet: Fleet) -> None:
    fleet.file("desk-01", "fail-cifar10").write_text("It learned nothing.")
    run = fleet.play("rollout")
    assert run.code != 0
    assert fleet.worked_on("desk-01") == COMPONENTS
    assert run.records["desk-01"]["failed"]["message"] == "desk-01: It learned nothing."
    for host in DESKS[1:]:
        assert fleet.worked_on(host) == []
        assert run.records[host]["skipped"] == "The first wave tolerates no failure, and desk-01 failed."
        changes = docker("diff", fleet.container(host))
        assert not [line for line in changes.splitlines() if "gpulab" in line or "standin" in line], changes
    fleet.file("desk-01", "fail-cifar10").unlink()


def test_a_machine_that_computes_is_left_alone_and_done_by_the_second_run(fleet: Fleet) -> None:
    fleet.compute("desk-06", "compute 4242 18000")
    run = fleet.play("rollout")
    assert run.code == 0, run.said
    assert fleet.worked_on("desk-06") == []
    assert run.records["desk-06"]["skipped"].startswith("It is in use: process 4242 of somebody computes on GPU 0")
    assert [host for host in DESKS if run.records[host]["proved_now"]] == [host for host in DESKS if host != "desk-06"]
    forget(fleet)

    fleet.compute("desk-06")
    again = fleet.play("rollout")
    assert again.code == 0, again.said
    assert fleet.touched() == ["desk-06"]
    assert fleet.worked_on("desk-06") == COMPONENTS
    assert again.records["desk-06"]["proved_now"]


def test_an_audit_finds_those_that_drift_and_no_others(fleet: Fleet) -> None:
    assert fleet.play("audit").code == 0
    fleet.inside("desk-02", "echo sudo install | dpkg --set-selections")
    fleet.inside("desk-07", "mkdir /opt/standin/lib/python3.11/site-packages/torch-2.9.0.dist-info")
    run = fleet.play("audit")
    assert run.code != 0
    found = {
        host: [reason for item in record["drift"] if item["drifted"] for reason in item["reasons"]]
        for host, record in run.records.items()
    }
    assert {host for host, reasons in found.items() if reasons} == {"desk-02", "desk-07"}
    assert found["desk-02"] == ["package sudo is not held any more"]
    assert "environment /opt/standin was changed by hand" in found["desk-07"]


def test_a_machine_that_dies_on_the_way_is_reported_and_the_others_go_on(fleet: Fleet) -> None:
    forget(fleet)
    fleet.file("desk-03", "hold-tensorflow").touch()
    process = fleet.begin("rollout", "-e", json.dumps({"tensorflow_kernelspec": True}))
    wait_until(lambda: "tensorflow" in fleet.worked_on("desk-03"), process)
    fleet.cut_off("desk-03")
    run = fleet.end(process)
    assert run.code != 0
    assert run.records["desk-03"]["unreachable"]
    assert [host for host in DESKS if run.records[host]["proved_now"]] == [host for host in DESKS if host != "desk-03"]


def test_a_rollout_whose_controller_is_killed_goes_on_with_what_is_left(fleet: Fleet) -> None:
    fleet.file("desk-03", "hold-tensorflow").unlink()
    fleet.revive("desk-03")
    forget(fleet)
    changed = ["-e", json.dumps({"tensorflow_entry_point": "lab-python", "rollout_canary": ["desk-01"]})]
    fleet.file("desk-04", "hold-tensorflow").touch()
    process = fleet.begin("rollout", *changed)
    wait_until(lambda: "tensorflow" in fleet.worked_on("desk-04"), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert fleet.worked_on("desk-01").count("cifar10") == 1
    assert "tensorflow" not in fleet.worked_on("desk-12")

    fleet.file("desk-04", "hold-tensorflow").unlink()
    run = fleet.play("rollout", *changed)
    assert run.code == 0, run.said
    assert fleet.worked_on("desk-01").count("cifar10") == 1
    assert [host for host in DESKS if fleet.worked_on(host)[-1:] != ["cifar10"]] == []
    again = fleet.play("audit", *changed)
    assert again.code == 0, again.said
