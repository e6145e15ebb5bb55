"""The project's shell scripts, where they go wrong: against stand-ins for the programs that they call."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


def stand_in(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def run(*command: str | Path, **variables: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    return subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("version", ["Python 3.8.18", ""])
def test_an_interpreter_that_is_named_and_does_not_suit_is_refused_not_replaced(tmp_path, version):
    python = stand_in(
        tmp_path / "python", f"[ -n '{version}' ] && [ $1 = --version ] && echo '{version}' && exit; exit 1"
    )
    done = run("scripts/environment", tmp_path / "env", "requirements/site.txt", PYTHON=python)
    assert done.returncode == 1
    assert f"PYTHON={python} is not Python 3.11 or newer" in done.stderr
    assert version in done.stderr
    assert not (tmp_path / "env").exists()


def test_an_environment_is_made_again_where_the_checkout_was_moved(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "scripts").mkdir(parents=True)
    shutil.copy(CHECKOUT / "scripts" / "environment", here / "scripts")
    (here / "none.txt").touch()
    assert run(here / "scripts" / "environment", ".venv", "none.txt").returncode == 0
    here.rename(there)
    assert run(there / "scripts" / "environment", ".venv", "none.txt").returncode == 0
    assert run(there / ".venv" / "bin" / "pip", "--version").returncode == 0
    assert "Making" not in run(there / "scripts" / "environment", ".venv", "none.txt").stdout


def test_a_step_that_is_none_is_refused_and_not_taken_for_a_command_of_the_shell():
    done = run("tests/run", "umask")
    assert done.returncode == 2
    assert 'There is no step "umask". The steps are: environment, lint, ' in done.stderr
    assert ", scenario umask, " in done.stderr


@pytest.fixture
def machine(tmp_path):
    """Start a bare machine with a docker that fails at one of its commands, and return what came of it."""

    def start(failing: str) -> tuple[subprocess.CompletedProcess[str], str]:
        log = tmp_path / "log"
        stand_in(
            tmp_path / "docker",
            f'echo "$@" >> {log}; cat > /dev/null; case "$*" in *"{failing}"*) exit 1 ;; run*) echo box ;; esac',
        )
        for name in ("git", "sleep"):
            stand_in(tmp_path / name, "")
        path = f"{tmp_path}:{os.environ['PATH']}"
        done = run("tests/containers/bare-machine", PATH=path, GPULAB_IMAGE_DEBIAN_12="given")
        return done, log.read_text()

    return start


def test_a_bare_machine_is_handed_over_when_all_went_well(machine):
    done, log = machine("nothing at all")
    assert done.stdout == "box\n", done.stderr
    assert "rm --force" not in log


@pytest.mark.parametrize("failing", ["is-system-running", "cp ", "pip.conf", "tar -x", "apt-get"])
def test_a_bare_machine_that_is_not_whole_is_removed_and_the_failure_told(machine, failing):
    done, log = machine(failing)
    assert (done.returncode, done.stdout) == (1, "")
    assert log.endswith("rm --force box\n")
    assert "There is no bare machine" in done.stderr


def test_a_bare_machine_that_never_started_is_not_gone_on_with(machine):
    done, log = machine("run ")
    assert (done.returncode, done.stdout) == (1, "")
    assert log.count("\n") == 1
