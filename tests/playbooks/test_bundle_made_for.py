"""A bundle that was made for other machines is refused before the first change, with what it has and what they are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from support.stand_in_lab import Lab

MADE = {"system": "debian-12", "components": ["os_prep", "nvidia_driver", "tensorflow"], "kernels": ["6.1.0-56-amd64"]}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path, "desk")
    lab.give("desk", "RTX 3090")
    lab.inventory["desk"] |= {"gpulab_bundle": str(tmp_path), "tensorflow_env_manager": "venv"}
    lab.inventory["desk"]["ansible_python_interpreter"] = sys.executable
    return lab


@pytest.mark.parametrize(
    ("made", "kernel", "told"),
    [
        (None, "6.1.0-56-amd64", "desk has no bundle at"),
        ({**MADE, "system": "debian-13"}, "6.1.0-56-amd64", "desk is debian-12 with kernel 6.1.0-56-amd64"),
        ({**MADE, "components": ["os_prep"]}, "6.1.0-56-amd64", "brings os_prep, nvidia_driver, tensorflow, cifar10."),
        (MADE, "6.1.0-60-amd64", "and the headers of 6.1.0-56-amd64."),
    ],
)
def test_it_is_refused(lab: Lab, tmp_path: Path, made: dict[str, Any] | None, kernel: str, told: str) -> None:
    system = {**lab.read("desk")["system"], "kernel": kernel}
    lab.change("desk", system=system)
    if made is not None:
        (tmp_path / "bundle.json").write_text(json.dumps(made))
    run = lab.play("site")
    assert told in run.records["desk"]["failed"]["message"]
    assert run.records["desk"]["converged"] == []


def test_what_the_inventory_has_elsewhere_need_not_be_in_it(lab: Lab, tmp_path: Path) -> None:
    lab.inventory["desk"]["nvidia_driver_mirror"] = "/srv/nvidia"
    lab.change("desk", system={**lab.read("desk")["system"], "kernel": "6.1.0-56-amd64"})
    (tmp_path / "bundle.json").write_text(json.dumps({**MADE, "components": ["os_prep", "tensorflow"]}))
    run = lab.play("site", "--check")
    assert run.code == 0, run.said
