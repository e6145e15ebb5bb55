"""remove.yml and rollback.yml: what they take off or put back, in which order, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.stand_in_lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A workstation with a GPU that was set up and proved."""
    lab = Lab(tmp_path, "desk-1")
    lab.give("desk-1", "RTX 4090")
    assert lab.play("site").code == 0
    lab.change("desk-1", journal=[])
    return lab


def away(lab: Lab) -> list[str]:
    return [entry.removesuffix(" away") for entry in lab.read("desk-1")["journal"]]


def test_everything_goes_the_last_one_first(lab: Lab) -> None:
    run = lab.play("remove")
    assert run.code == 0, run.said
    assert away(lab) == ["cifar10", "tensorflow", "anaconda", "cudnn", "cuda", "nvidia_driver", "os_prep"]
    assert lab.read("desk-1")["components"] == {}


def test_a_driver_that_was_there_before_is_left_unless_it_is_named(lab: Lab) -> None:
    components = lab.read("desk-1")["components"]
    lab.change("desk-1", components={name: receipt for name, receipt in components.items() if name != "nvidia_driver"})
    assert lab.play("remove").code == 0
    assert "nvidia_driver" not in away(lab)
    assert lab.play("remove", "-e", "gpulab_components=nvidia_driver").code == 0
    assert away(lab)[-1] == "nvidia_driver"


def test_machines_of_different_kinds_each_lose_the_last_one_first(tmp_path: Path) -> None:
    lab = Lab(tmp_path, "desk-0", "desk-1")
    lab.give("desk-1", "RTX 4090")
    assert lab.play("site").code == 0
    lab.change("desk-1", journal=[])
    run = lab.play("remove")
    assert run.code == 0, run.said
    assert away(lab) == ["cifar10", "tensorflow", "anaconda", "cudnn", "cuda", "nvidia_driver", "os_prep"]


def test_what_is_named_goes_in_the_right_order_and_the_rest_stays(lab: Lab) -> None:
    run = lab.play("remove", "-e", "gpulab_components=tensorflow,cifar10")
    assert run.code == 0, run.said
    assert away(lab) == ["cifar10", "tensorflow"]
    assert "nvidia_driver" in lab.read("desk-1")["components"]


@pytest.mark.parametrize(
    ("playbook", "chosen", "answer"),
    [
        ("remove", "tensorflow,cudda", "cudda is no component"),
        ("rollback", "cuda", "one or both of tensorflow,nvidia_driver"),
        ("rollback", "", "one or both of tensorflow,nvidia_driver"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_changes(lab: Lab, playbook: str, chosen: str, answer: str) -> None:
    run = lab.play(playbook, "-e", f"gpulab_components={chosen}")
    assert run.code != 0
    assert answer in " ".join(run.said.split())
    assert lab.read("desk-1")["journal"] == []


def test_what_is_named_goes_back(lab: Lab) -> None:
    run = lab.play("rollback", "-e", "gpulab_components=nvidia_driver,tensorflow")
    assert run.code == 0, run.said
    assert lab.read("desk-1")["journal"] == ["tensorflow back", "nvidia_driver back"]


@pytest.mark.parametrize("playbook", ["remove", "rollback"])
def test_wrong_inputs_are_refused_before_anything_changes(lab: Lab, playbook: str) -> None:
    wrong = {"tensorflow_prefix": "/home", "tensorflow_entry_point": "../../tmp/victim", "tensorflow_entry_pont": "x"}
    run = lab.play(playbook, "-e", json.dumps({"gpulab_components": "tensorflow", **wrong}))
    said = " ".join(run.said.split())
    assert run.code != 0
    assert "tensorflow_prefix: '/home' is refused" in said
    assert "tensorflow_entry_point: '../../tmp/victim' is refused" in said
    assert "did you mean tensorflow_entry_point?" in said
    assert lab.read("desk-1")["journal"] == []
