"""The wheel of cuDNN is fetched by the system's own pip, which on Ubuntu 22.04 and EL 9 is an old one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

TASKS = yaml.safe_load((Path(__file__).parents[2] / "roles/cudnn/tasks/install_wheel.yml").read_text())


@pytest.fixture(scope="module", params=["21.3.1", "22.0.2"])
def old_pip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that has this pip, of EL 9 or of Ubuntu 22.04."""
    folder = tmp_path_factory.mktemp(request.param)
    fetch = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", f"--target={folder}"]
    subprocess.run([*fetch, f"pip=={request.param}"], check=True)
    return folder


def test_old_pips_know_every_option(old_pip: Path) -> None:
    fetch = next(task["block"] for task in TASKS if "block" in task)[1]["ansible.builtin.command"]["argv"]
    options = [word for word in fetch if word.startswith("--") and "{{" not in word]
    assert len(options) > 4
    asked = [sys.executable, "-m", "pip", "install", *options, "--help"]
    said = subprocess.run(asked, env={"PYTHONPATH": str(old_pip)}, check=False, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
