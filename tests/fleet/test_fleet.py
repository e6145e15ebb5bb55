"""rollout.yml for a lab of twelve machines of four systems, over SSH: see tests/support/ssh_fleet.

Each test goes on where the one before left the lab.
"""

from __future__ import annotations

from collections.abc import Iterator
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
