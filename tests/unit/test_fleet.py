"""One stack for a group of machines, or who stands in the way."""

from __future__ import annotations

from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils.fleet import resolve_fleet
from lab_machines import TODAY, gpu_facts, system_facts


def machine(*gpus: str, system: str = "ubuntu 24.04", driver: str | None = None, **inputs: Any) -> dict[str, Any]:
    return {"gpu": gpu_facts(*gpus, driver=driver), "system": system_facts(system), "inputs": inputs}


def test_a_mixed_room_shares_the_newest_tensorflow_that_all_can_have() -> None:
    fleet = resolve_fleet(
        {"new": machine("RTX 4090"), "old": machine("V100", system="debian 12"), "head": machine()}, today=TODAY
    )
    assert fleet["common"] == {"tensorflow": {"version": "2.20.0", "source": "pip"}, "driver_branch": "580"}
    assert fleet["in_the_way"] == []
    assert {plan["stack"]["tensorflow"]["version"] for plan in fleet["plans"].values()} == {"2.20.0"}
    assert fleet["plans"]["old"]["components"]["tensorflow"]["tensorflow_constraints"] == ["nvidia-cudnn-cu12<9.11"]


def test_a_blackwell_brings_the_whole_room_to_conda_forge() -> None:
    fleet = resolve_fleet({"a": machine("RTX 5090"), "b": machine("RTX 3090"), "c": machine("P100")}, today=TODAY)
    assert fleet["common"] == {"tensorflow": {"version": "2.19.1", "source": "conda-forge"}, "driver_branch": "580"}


def test_machines_without_gpu_share_the_newest_of_all() -> None:
    fleet = resolve_fleet({"a": machine(), "b": machine(system="debian 13")}, today=TODAY)
    assert fleet["common"] == {"tensorflow": {"version": "2.21.0", "source": "pip"}, "driver_branch": None}


def test_a_maxwell_and_a_blackwell_have_nothing_in_common_and_the_few_are_named() -> None:
    fleet = resolve_fleet(
        {"old": machine("GTX 970"), "new1": machine("RTX 5090"), "new2": machine("RTX 5090")}, today=TODAY
    )
    assert fleet["common"] is None
    assert [entry["hosts"] for entry in fleet["in_the_way"]] == [["old"]]
    assert "GTX 970" in fleet["in_the_way"][0]["reason"]
    assert fleet["plans"]["old"]["stack"]["tensorflow"]["version"] == "2.16.2"
    assert fleet["plans"]["new1"]["stack"]["tensorflow"]["version"] == "2.19.1"


def test_a_system_that_is_not_supported_stands_in_the_way() -> None:
    fleet = resolve_fleet(
        {"a": machine("RTX 4090"), "b": machine("RTX 4090"), "c": machine("RTX 4090", system="centos 7")}, today=TODAY
    )
    assert fleet["common"] is None
    assert fleet["in_the_way"][0]["hosts"] == ["c"]
    assert fleet["plans"]["c"]["refusal"] is not None


def test_a_pin_of_one_machine_is_kept_and_stands_in_the_way_where_others_cannot_have_it() -> None:
    pinned = machine("RTX 4090", tensorflow_version="2.20.0")
    fleet = resolve_fleet({"a": machine("RTX 5090"), "b": machine("RTX 5090"), "c": pinned}, today=TODAY)
    assert fleet["common"] is None
    assert fleet["in_the_way"][0]["hosts"] == ["c"]
    assert "2.20.0" in fleet["in_the_way"][0]["reason"]


def test_working_drivers_of_several_branches_are_brought_to_one() -> None:
    fleet = resolve_fleet(
        {"a": machine("RTX 4090", driver="550.163.01"), "b": machine("RTX 4090", driver="580.95.05")}, today=TODAY
    )
    assert fleet["common"] == {"tensorflow": {"version": "2.20.0", "source": "pip"}, "driver_branch": "580"}


def test_drivers_that_nobody_else_can_have_are_brought_to_one_that_all_can() -> None:
    rooms = {"a": machine("RTX 4090", driver="550.163.01"), "b": machine("RTX 4090", driver="610.57.04")}
    fleet = resolve_fleet(rooms, today=TODAY)
    assert fleet["common"] == {"tensorflow": {"version": "2.20.0", "source": "pip"}, "driver_branch": "580"}


def test_who_could_have_the_branch_of_the_others_is_not_in_the_way_beside_one_who_is() -> None:
    rooms = {"a": machine("RTX 4090"), "b": machine("RTX 4090", driver="550.163.01"), "c": machine(system="centos 7")}
    assert [entry["hosts"] for entry in resolve_fleet(rooms, today=TODAY)["in_the_way"]] == [["c"]]


def test_no_machines_have_no_stack() -> None:
    assert resolve_fleet({}, today=TODAY) == {"common": None, "plans": {}, "in_the_way": []}


def test_twins_are_resolved_once_and_each_has_its_plan() -> None:
    fleet = resolve_fleet({f"gpu{number}": machine("RTX 4090") for number in range(500)}, today=TODAY)
    assert len(fleet["plans"]) == 500
