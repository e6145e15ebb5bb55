"""What was there before a role came keeps its owner and mode, and root works nowhere that others may change."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
NOWHERE = "http://127.0.0.1:9"  # nothing answers there
INPUTS = {
    "tensorflow_env_manager": "venv",
    "__tensorflow_needed_mib": 1,
    "cifar10_dataset": "download",
    "cifar10_dataset_url": f"{NOWHERE}/images",
}
PLACES = [("tensorflow", "tensorflow_prefix"), ("cifar10", "cifar10_work_dir")]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="NOT CHECKED: only root can put these roles to work")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of the lab's."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def play(tmp_path: Path, role: str, *, part: str = "preflight", **inputs: str) -> tuple[int, str]:
    """Run a part of a role; return how it ended and what it said."""
    preflight, then = ({"name": f"gpulab.workstation.{role}", "tasks_from": name} for name in ("preflight", part))
    roles = [preflight] if part == "preflight" else [{**preflight, "public": True}, then]
    tasks = [{"ansible.builtin.include_role": role} for role in roles]
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "workstations", "gather_facts": False, "tasks": tasks}]))
    command = ["ansible-playbook", tmp_path / "play.yml", "-i", "inventories/quickstart"]
    command += ["-e", json.dumps({**INPUTS, **inputs})]
    pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0", "PIP_INDEX_URL": f"{NOWHERE}/simple"}
    run = subprocess.run(
        command, cwd=CHECKOUT, env={**os.environ, **pip}, capture_output=True, text=True, timeout=120, check=False
    )
    return run.returncode, " ".join((run.stdout + run.stderr).split())


@pytest.mark.parametrize("mode", [0o2775, 0o1777])
@pytest.mark.parametrize(("role", "place"), PLACES)
def test_a_folder_that_others_may_change_is_refused_and_named(
    tmp_path: Path, data: Path, role: str, place: str, mode: int
) -> None:
    data.chmod(mode)
    code, said = play(tmp_path, role, **{place: str(data / "ours")})
    assert code != 0
    assert f"others than root may change {data}, and with that" in said
    assert f"Choose a {place} below folders" in said
    assert "changed=0" in said


def test_the_way_out_that_is_named_is_one(tmp_path: Path, data: Path) -> None:
    data.chmod(0o2775)
    os.chown(data, 65534, 65534)
    _code, said = play(tmp_path, "tensorflow", tensorflow_prefix=str(data / "tensorflow"))
    commands, _set, place = said.partition("make room in it that is: ")[2].partition(", and set tensorflow_prefix to ")
    subprocess.run(commands, shell=True, check=True)
    prefix = place.split()[0].rstrip('."')
    assert prefix == f"{data}/gpulab/tensorflow"
    code, said = play(tmp_path, "tensorflow", tensorflow_prefix=prefix)
    assert code == 0, said


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The inputs by which the images come from here."""
    (tmp_path / "images").write_bytes(b"images")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        address = f"http://127.0.0.1:{server.server_port}/images"
        yield {"cifar10_dataset_url": address, "cifar10_dataset_sha256": hashlib.sha256(b"images").hexdigest()}
        server.shutdown()


def look(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mode & 0o7777, status.st_uid, status.st_gid


@pytest.mark.parametrize(("role", "place"), PLACES)
def test_a_folder_stays_as_it_was_and_what_is_made_in_it_is_for_all(
    tmp_path: Path, data: Path, publisher: dict[str, str], role: str, place: str
) -> None:
    os.chown(data, 0, 65534)
    data.chmod(0o2711)
    inputs = {**publisher, "__cifar10_share": str(tmp_path / "share")}
    part, name = {"tensorflow": ("build_venv", "tensorflow"), "cifar10": ("install", "")}[role]
    for folder in (data, data / "new" / "folder"):
        _code, said = play(tmp_path, role, part=part, **{**inputs, place: str(folder / name)})
        assert list(folder.iterdir()), said
    assert look(data) == (0o2711, 0, 65534)
    assert [look(folder)[:2] for folder in (data / "new", data / "new" / "folder")] == [(0o755, 0), (0o755, 0)]
