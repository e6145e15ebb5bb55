"""What the lab has itself, the roles take from there: by one variable, and where the inventory names no other place."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from support.stand_in_lab import Lab

CACHE = "http://cache.lab.example:8008"
PUBLISHED = f"{CACHE}/https/developer.download.nvidia.com/compute/cuda/repos"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path, "desk")
    lab.give("desk", "RTX 3090")
    lab.change("desk", system={**lab.read("desk")["system"], "kernel": "6.1.0-56-amd64"})
    made = {"components": ["os_prep", "nvidia_driver", "anaconda", "tensorflow"], "kernels": ["6.1.0-56-amd64"]}
    (tmp_path / "bundle.json").write_text(json.dumps({"system": "debian-12", **made}))
    # This machine's own apt is left alone.
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/apt-get").write_text(f"#!/bin/sh\necho $APT_CONFIG > {tmp_path}/asked\n")
    (tmp_path / "bin/apt-get").chmod(0o755)
    lab.variables["PATH"] = f"{tmp_path}/bin:{os.environ['PATH']}"
    lab.inventory["desk"]["ansible_python_interpreter"] = sys.executable
    return lab


def given(lab: Lab, **inventory: str) -> dict[str, object]:
    """The inputs that the roles got, of the places."""
    lab.inventory["desk"] |= inventory
    run = lab.play("site")
    assert run.code == 0, run.said
    receipts = lab.read("desk")["components"].values()
    inputs = {name: value for receipt in receipts for name, value in receipt["inputs"].items()}
    return {name: inputs[name] for name in ("nvidia_driver_mirror", "anaconda_source", "tensorflow_conda_channels")}


def test_a_bundle_gives_them(lab: Lab, tmp_path: Path) -> None:
    assert given(lab, gpulab_bundle=str(tmp_path), tensorflow_conda_channels=["conda-forge"]) == {
        "nvidia_driver_mirror": f"{tmp_path}/nvidia",
        "anaconda_source": f"file://{tmp_path}/installers",
        "tensorflow_conda_channels": ["conda-forge"],
    }
    assert (tmp_path / "asked").read_text().strip() == f"{tmp_path}/apt/apt.conf"


def test_a_cache_gives_those_that_are_signed_or_have_a_hash(lab: Lab) -> None:
    found = given(lab, gpulab_cache=CACHE)
    assert found["nvidia_driver_mirror"] == PUBLISHED
    assert found["tensorflow_conda_channels"] == ["conda-forge"]
