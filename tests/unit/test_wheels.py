"""What environments share: nothing that was changed is taken from there, and nothing stays that none of them has."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
from pathlib import Path

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils import _wheels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "envs" / ".wheels"


def unpacked(folder: Path, name: str = "tiny") -> Path:
    """A wheel as uv keeps it."""
    wheel = folder / "archive-v0" / f"{name}-as-uv-calls-it"
    (wheel / f"{name}-1.0.dist-info").mkdir(parents=True)
    texts = {f"{name}.py": b"answer = 42\n", f"{name}-1.0.dist-info/METADATA": b"Name: tiny\n"}
    lines = []
    for path, text in texts.items():
        (wheel / path).write_bytes(text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(text)}\n")
    lines.append(f"{name}-1.0.dist-info/RECORD,,\n")
    (wheel / f"{name}-1.0.dist-info" / "RECORD").write_text("".join(lines))
    note = folder / "wheels-v5" / "index" / name / f"1.0-{name}.rev"
    note.parent.mkdir(parents=True)
    note.write_bytes(b"\x92" + wheel.name.encode())
    return wheel


def link_into(environment: Path, wheel: Path) -> None:
    for path in wheel.rglob("*"):
        if path.is_file():
            place = environment / path.relative_to(wheel)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(path, place)


def test_only_root_looks_into_it(folder: Path) -> None:
    with _wheels.held(str(folder)) as held:
        assert held == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("harm", ["edited in an environment", "cut short", "without its RECORD", "half removed"])
def test_what_is_not_as_it_came_is_not_taken_again(folder: Path, harm: str) -> None:
    bad, good = unpacked(folder), unpacked(folder, "other")
    environment = folder.parent / "tf-1"
    link_into(environment, bad)
    if harm == "edited in an environment":
        with (environment / "tiny.py").open("a") as file:
            file.write("# a mend by hand\n")
    elif harm == "cut short":
        os.truncate(bad / "tiny.py", 3)
    elif harm == "without its RECORD":
        (bad / "tiny-1.0.dist-info" / "RECORD").unlink()
    else:
        (bad / "tiny.py").unlink()
    with _wheels.held(str(folder)):
        assert [path.name for path in (folder / "archive-v0").iterdir()] == [good.name]
        assert [path.name for path in folder.rglob("*.rev")] == ["1.0-other.rev"]


def test_what_a_killed_uv_left_is_cleared_away(folder: Path) -> None:
    (folder / ".tmpA1b2c3").mkdir(parents=True)
    with _wheels.held(str(folder)):
        assert not list(folder.iterdir())


def test_what_no_environment_has_any_more_goes(folder: Path) -> None:
    used, _unused = unpacked(folder), unpacked(folder, "other")
    link_into(folder.parent / "tf-1", used)
    _wheels.trim(str(folder))
    assert [path.name for path in (folder / "archive-v0").iterdir()] == [used.name]
    (folder.parent / "tf-1" / "tiny-1.0.dist-info" / "METADATA").unlink()
    _wheels.trim(str(folder))
    assert not folder.exists()
    _wheels.trim(str(folder))


def test_a_second_run_does_without_and_removes_nothing(folder: Path) -> None:
    unpacked(folder)
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        with _wheels.held(str(folder)) as held:
            assert held == ""
        _wheels.trim(str(folder))
        assert len(list((folder / "archive-v0").iterdir())) == 1
    finally:
        os.close(descriptor)
