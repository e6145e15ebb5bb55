"""locked_packages with a real pip, a real environment and a package made here."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

FILES = {
    "demo.py": b"ANSWER = 42\n",
    "demo-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n",
    "demo-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "wheels" / "demo-1.0-py3-none-any.whl"
    path.parent.mkdir()
    record = ""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            record += f"{name},sha256={digest},{len(content)}\n"
        archive.writestr("demo-1.0.dist-info/RECORD", f"{record}demo-1.0.dist-info/RECORD,,\n")
    return path


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    return tmp_path / "env"


def install(prefix: Path, wheels: Path, sha256: str, *words: str, **options: str) -> dict[str, Any]:
    asked = json.dumps({"prefix": str(prefix), "lock": f"demo==1.0 --hash=sha256:{sha256}\n", **options})
    done = subprocess.run(
        ["ansible", "localhost", "-m", "gpulab.workstation.locked_packages", "-a", asked, *words],
        env={
            **os.environ,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
            "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(done.stdout.rpartition(" => ")[2])


def test_what_the_lock_names_is_installed_as_check_mode_said(prefix: Path, wheel: Path) -> None:
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    announced = install(prefix, wheel.parent, sha256, "--check")
    assert (announced["changed"], announced["installed"]) == (True, ["demo==1.0"])
    assert not list(prefix.glob("lib/*/site-packages/demo.py"))
    made = install(prefix, wheel.parent, sha256)
    assert (made["changed"], made["installed"]) == (True, ["demo==1.0"])
    assert (
        subprocess.check_output([prefix / "bin/python", "-c", "import demo; print(demo.ANSWER)"], text=True) == "42\n"
    )
    assert [install(prefix, wheel.parent, sha256, *words)["changed"] for words in ((), ("--check",))] == [False, False]


@contextmanager
def at_work_in(folder: Path) -> Iterator[None]:
    """Hold a folder as a run does that builds an environment there."""
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def waits_at(folder: Path) -> bool:
    """Whether another process than this one has the folder open, as one does that waits for it."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended, or is of those that nobody may look into
            if process.name != str(os.getpid()) and folder in [file.readlink() for file in (process / "fd").iterdir()]:
                return True
    return False


def test_an_environment_is_made_anew_when_nobody_is_at_work_beside_it(tmp_path: Path, wheel: Path) -> None:
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    prefix = tmp_path / "envs" / "half"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "python").write_text("half of it")
    with ThreadPoolExecutor() as beside:
        with at_work_in(prefix.parent):
            waiting = beside.submit(install, prefix, wheel.parent, sha256, python=sys.executable)
            while not waits_at(prefix.parent):
                assert not waiting.done(), waiting.result()
                time.sleep(0.1)
            assert (prefix / "bin" / "python").read_text() == "half of it"
        assert waiting.result()["installed"] == ["demo==1.0"]
    assert subprocess.check_output([prefix / "bin/python", "-c", "import demo; print(demo.ANSWER)"]) == b"42\n"


def test_a_file_that_is_not_the_locked_one_is_refused(prefix: Path, wheel: Path) -> None:
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("demo_backdoor.py", "")
    answer = install(prefix, wheel.parent, sha256)
    assert answer["error"]["kind"] == "checksum"
    assert sha256 in answer["msg"]
    assert not list(prefix.glob("lib/*/site-packages/demo*"))
