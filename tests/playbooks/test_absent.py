"""The roles' own removal, for real where mounts are allowed: what it refuses, what it takes, and what it leaves."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode != 0,
    reason="NOT CHECKED: a machine that may be changed can be had only where mounts are allowed",
)


@dataclass
class Removal:
    """How a role's removal ended, and what it said."""

    code: int
    changed: int
    said: str


def remove(tmp_path: Path, role: str, *, before: str = "true", then: str = "true", **inputs: Any) -> Removal:
    """Remove a role from this machine, with nothing in /usr/local and /var/lib but what ``before`` puts there.

    The rest of the machine cannot be written but for ``tmp_path``, whatever a removal takes for its own. The outcome is
    an error where ``then`` is.
    """
    play = {"hosts": "workstations", "gather_facts": False, "roles": [f"gpulab.workstation.{role}"]}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    (tmp_path / "inputs.json").write_text(json.dumps({f"{role}_state": "absent", **inputs}))
    script = [
        "mount -t tmpfs none /usr/local && mkdir /usr/local/bin",
        "mount -t tmpfs none /var/lib && mkdir -p /var/lib/gpulab/receipts",
        f"mount --bind {tmp_path} {tmp_path} && mkdir -p {tmp_path}/scratch && mount -o remount,bind,ro /",
        before,
        f"ansible-playbook {tmp_path}/play.yml -i inventories/quickstart -e @{tmp_path}/inputs.json",
        then,
    ]
    command = ["unshare", "--mount", "bash", "-ec", "\n".join(script)]
    scratch = dict.fromkeys(("TMPDIR", "ANSIBLE_HOME", "ANSIBLE_REMOTE_TMP"), f"{tmp_path}/scratch")
    environment = {**os.environ, **scratch, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"}
    run = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    changed = re.search(r"changed=(\d+)", run.stdout)
    assert changed, run.stdout + run.stderr
    return Removal(run.returncode, int(changed[1]), " ".join((run.stdout + run.stderr).split()))


WRONG = {
    "os_prep": {"os_prep_open_file": 4096},
    "tensorflow": {"tensorflow_prefix": "/home", "tensorflow_entry_point": ".", "tensorflow_entry_pont": "x"},
    "cifar10": {"cifar10_work_dir": "/var/../home"},
    "pull": {"pull_shedule": "hourly"},
    "lab_cache": {"lab_cache_directory": "/var/../home"},
}


@pytest.mark.parametrize("role", WRONG)
def test_wrong_inputs_are_refused(tmp_path: Path, role: str) -> None:
    removal = remove(tmp_path, role, **WRONG[role])
    assert removal.code != 0
    assert [name for name in WRONG[role] if name not in removal.said] == []
    assert removal.changed == 0


@pytest.fixture
def envs(tmp_path: Path) -> Path:
    """A folder in which others have something, too, of names like those of the role tensorflow's environments."""
    for path in ("tensorflow-0123abcd/theirs", "tensorflow-01234567.d/theirs", "data-0123abcd/theirs"):
        (tmp_path / "envs" / path).mkdir(parents=True)
    return tmp_path / "envs"


def built(envs: Path, name: str, *, marker: str = "{}") -> None:
    """An environment with the marker that is written last."""
    (envs / name / "lib").mkdir(parents=True)
    (envs / name / "gpulab-env.json").write_text(marker)


def test_tensorflow_takes_its_own_and_leaves_what_others_have_beside_it(tmp_path: Path, envs: Path) -> None:
    theirs = sorted(path.name for path in envs.iterdir())
    by_conda = {"schema": 1, "kind": "conda", "prefix": str(envs / "tensorflow")}
    built(envs, "tensorflow-00000001")
    built(envs, "tensorflow-00000002.2", marker=json.dumps(by_conda))
    (envs / "tensorflow-00000003").mkdir()
    (envs / ".tensorflow-00000003.unfinished").touch()
    (envs / "tensorflow-00000004").mkdir()
    (envs / ".tensorflow.journal").write_text(str(envs / "tensorflow-00000004"))
    (envs / "tensorflow").symlink_to("tensorflow-00000001")
    inputs = {"tensorflow_prefix": str(envs / "tensorflow"), "tensorflow_entry_point": "tf"}
    command = f"printf '#!/bin/sh\\nexec {envs}/tensorflow/bin/python \"$@\"\\n' > /usr/local/bin/tf"
    removal = remove(tmp_path, "tensorflow", before=command, then="test ! -e /usr/local/bin/tf", **inputs)
    assert removal.code == 0, removal.said
    assert sorted(path.name for path in envs.iterdir()) == theirs
    again = remove(tmp_path, "tensorflow", **inputs)
    assert (again.code, again.changed) == (0, 0), again.said
    assert "[WARNING]" not in again.said


@pytest.mark.parametrize("theirs", ["folder", "conda", "link"])
def test_tensorflow_leaves_what_others_have_at_its_prefix(tmp_path: Path, envs: Path, theirs: str) -> None:
    prefix = envs / "tensorflow"
    if theirs == "link":
        prefix.symlink_to("data-0123abcd")
    else:
        (prefix / "conda-meta").mkdir(parents=True)
    if theirs == "conda":
        (prefix / "conda-meta" / "history").touch()
    before = sorted(envs.rglob("*"))
    removal = remove(tmp_path, "tensorflow", tensorflow_prefix=str(prefix))
    assert removal.code != 0
    assert f"{prefix} is there, and this role did not make it" in removal.said
    assert removal.changed == 0
    assert sorted(envs.rglob("*")) == before


def test_tensorflow_leaves_a_command_of_others(tmp_path: Path, envs: Path) -> None:
    inputs = {"tensorflow_prefix": str(envs / "tensorflow"), "tensorflow_entry_point": "theirs"}
    there = "echo 'exec /srv/theirs' > /usr/local/bin/theirs"
    removal = remove(tmp_path, "tensorflow", before=there, then="cat /usr/local/bin/theirs", **inputs)
    assert (removal.code, removal.changed) == (0, 0), removal.said


def test_tensorflow_takes_what_an_interrupted_build_has_left(tmp_path: Path) -> None:
    envs = tmp_path / "envs"
    inputs = {"tensorflow_prefix": str(envs / "tensorflow"), "tensorflow_env_manager": "venv"}
    # Nothing answers there.
    nowhere = "PIP_CONFIG_FILE=/dev/null PIP_RETRIES=0 PIP_INDEX_URL=http://127.0.0.1:9/simple"
    build = f"ansible-playbook {tmp_path}/play.yml -i inventories/quickstart -e @{tmp_path}/inputs.json"
    more = json.dumps({"tensorflow_state": "present", "__tensorflow_needed_mib": 1})
    interrupted = f"! {nowhere} {build} -e '{more}' && test -d {envs}/tensorflow-*/lib"
    removal = remove(tmp_path, "tensorflow", before=interrupted, **inputs)
    assert (removal.code, removal.changed) == (0, 2), removal.said
    assert list(envs.iterdir()) == []


def cached(place: Path) -> str:
    """The command after which the machine has a receipt of a cache in ``place``."""
    inputs = {"lab_cache_directory": str(place)}
    receipt = {"schema": 1, "component": "lab_cache", "version": "", "inputs": inputs, "evidence": [], "details": {}}
    return f"echo '{json.dumps(receipt)}' > /var/lib/gpulab/receipts/lab_cache.json"


def test_the_cache_goes_with_all_it_kept(tmp_path: Path) -> None:
    place, theirs = tmp_path / "cache", tmp_path / "theirs"
    (place / "0" / "1f").mkdir(parents=True)
    theirs.mkdir()
    removal = remove(tmp_path, "lab_cache", before=cached(place), lab_cache_directory=str(place))
    assert (removal.code, removal.changed) == (0, 2), removal.said
    assert not place.exists() and theirs.exists()


def test_the_cache_goes_from_where_it_was_made(tmp_path: Path) -> None:
    place = tmp_path / "cache"
    place.mkdir()
    removal = remove(tmp_path, "lab_cache", before=cached(place), lab_cache_directory=str(tmp_path / "elsewhere"))
    assert (removal.code, removal.changed) == (0, 2), removal.said
    assert not place.exists()


@pytest.mark.parametrize(("mode", "inside"), [(0o2775, ["theirs"]), (0o1777, [])], ids=["full", "empty"])
def test_a_folder_that_is_no_cache_is_left(tmp_path: Path, mode: int, inside: list[str]) -> None:
    place = tmp_path / "data"
    place.mkdir()
    place.chmod(mode)
    for name in inside:
        (place / name).touch()
    removal = remove(tmp_path, "lab_cache", before=cached(tmp_path / "cache"), lab_cache_directory=str(place))
    assert removal.code != 0
    assert f"{place} is there, and this role did not make it" in removal.said
    assert removal.changed == 0
    assert (place.stat().st_mode & 0o7777, [path.name for path in place.iterdir()]) == (mode, inside)
