"""The module conda_env says and leaves no password of a channel, and takes back what an earlier release left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gpulab.workstation.plugins.modules import conda_env

CHANNEL = "https://me:hunter2@mirror.example/lab"
# It makes what counts of an environment, and its history tells the command line as the real one's does.
CLIENT = """#!/bin/sh
asked="$*"
while [ "$1" != --prefix ]; do shift; done
mkdir -p "$2/conda-meta"
echo "# cmd: conda $asked" > "$2/conda-meta/history"
echo '{"name": "python", "version": "3.12", "build": "0"}' > "$2/conda-meta/python-3.12-0.json"
echo '{"success": true}'
"""


@pytest.fixture
def environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Return what runs the module for an environment in ``tmp_path``, and returns all that it says."""
    client = tmp_path / "conda"
    client.write_text(CLIENT)
    client.chmod(0o755)

    def run(*, check: bool = False, **given: Any) -> dict[str, Any]:
        declared = {"prefix": str(tmp_path / "envs/lab"), "channels": [CHANNEL], "packages": ["python"]}
        options = {**declared, "executable": str(client), **given, "_ansible_check_mode": check}
        with patch_module_args(options), pytest.raises(SystemExit):
            conda_env.main()
        return json.loads(capsys.readouterr().out)

    return run


def _telling(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file() and "hunter" in path.read_text()]
    return sorted(path.name for path in files)


def test_no_password_is_in_what_is_said_or_left(environment: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    said = [environment(state="exact", check=True), environment(state="exact")]
    assert [run["action"] for run in said] == ["build", "build"]
    other = environment(state="exact", channels=[CHANNEL.replace("hunter2", "hunter3")])
    assert not other["changed"], "another password is no other environment"
    assert "hunter" not in json.dumps([*said, other])
    assert _telling(tmp_path / "envs") == []
    marker = json.loads((tmp_path / "envs/lab/gpulab-env.json").read_text())
    assert marker["request"]["channels"] == ["https://mirror.example/lab"]


def test_no_password_is_in_a_refusal(environment: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "conda").write_text(f"#!/bin/sh\necho 'no such channel: {CHANNEL}' >&2; exit 1\n")
    said = environment()
    assert "no such channel: https://mirror.example/lab" in said["msg"] and "hunter" not in json.dumps(said)


def test_a_password_that_an_earlier_release_wrote_down_is_taken_out(
    environment: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    environment()
    files = [tmp_path / "envs/lab" / name for name in ("gpulab-env.json", "conda-meta/history")]
    for file in files:
        file.write_text(file.read_text().replace("https://mirror", "https://me:hunter2@mirror"))
    stamps = [file.stat().st_mtime_ns for file in files]
    foreseen, done, again = environment(check=True), environment(), environment()
    assert (foreseen["changed"], done["changed"], again["changed"]) == (True, True, False)
    assert foreseen["concealed"] == done["concealed"] == [str(file.resolve()) for file in files]
    assert done["action"] == "none" and _telling(tmp_path / "envs") == []
    assert [file.stat().st_mtime_ns for file in files] == stamps
