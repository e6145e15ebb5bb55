"""Components that two roles use go with the second of them, and never take the machine's own sources along."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gpulab.workstation.plugins.module_utils import _apt_sources
from ansible_collections.gpulab.workstation.plugins.modules import apt_components as module

OWN = [_apt_sources.Source("http://mirror.example/debian", "bookworm", ("main",))]
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the module's file is."""
    path = tmp_path / "gpulab-components.sources"
    monkeypatch.setattr(module, "PATH", str(path))
    return path


@pytest.fixture
def ask(ours: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """The module itself, on a machine whose apt has main; returns what it answers."""
    update: dict[str, Any] = {"status": 0, "reads": ""}

    def answer(argv: list[str]) -> tuple[int, str, str]:
        return (0, f"folder='{update['reads']}/'\n", "") if "apt-config" in argv else (update["status"], "", "E: no")

    monkeypatch.setattr(module, "_sources", lambda: OWN)
    monkeypatch.setattr(module, "quiet_runner", lambda _module: answer)

    def run(
        role: str, state: str = "present", *, status: int = 0, reads: Path = ours.parent, **options: Any
    ) -> dict[str, Any]:
        update.update(status=status, reads=reads)
        with patch_module_args({"used_by": role, "state": state, **options}), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_they_go_with_the_last_role_that_uses_them(ask: Ask, ours: Path) -> None:
    assert [ask(role)["changed"] for role in ("cuda", "cuda", "nvidia_driver", "cuda")] == [True, False, True, False]
    assert "# Used by: cuda, nvidia_driver\n" in ours.read_text()
    assert "Components: contrib non-free non-free-firmware\n" in ours.read_text()
    assert ask("cuda", "absent")["path"] == str(ours)
    assert "# Used by: nvidia_driver\n" in ours.read_text()
    assert ask("nvidia_driver", "absent", _ansible_check_mode=True)["changed"] and ours.exists()
    gone = ask("nvidia_driver", "absent")
    assert gone["changed"] and gone["path"] is None
    assert not ours.exists()
    assert not ask("nvidia_driver", "absent")["changed"]


def test_components_that_cannot_be_fetched_leave_the_sources_as_they_were(ask: Ask, ours: Path) -> None:
    answer = ask("cuda", status=100)
    assert answer["failed"] and "cannot be used" in answer["msg"]
    assert not ours.exists()
    ask("nvidia_driver")
    before = ours.read_text()
    assert ask("cuda", status=100)["failed"]
    assert ours.read_text() == before


def test_the_machine_s_sources_are_left_alone_where_apt_reads_a_bundle_s(ask: Ask, ours: Path) -> None:
    bundle = Path("/srv/gpulab-bundle/apt/sources.list.d")
    assert not ask("cuda", reads=bundle)["changed"]
    assert not ours.exists()
    ask("cuda")
    before = ours.read_text()
    assert not ask("nvidia_driver", reads=bundle)["changed"]
    assert ours.read_text() == before


def test_a_password_in_the_machine_s_sources_is_for_root_alone(
    ask: Ask, ours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _apt_sources.Source("https://me:hunter2@mirror.example/debian", "bookworm", ("main",))
    monkeypatch.setattr(module, "_sources", lambda: [source])
    said = [ask("cuda", _ansible_diff=True)]
    assert (
        "URIs: https://me:hunter2@mirror.example/debian\n" in ours.read_text() and ours.stat().st_mode & 0o777 == 0o600
    )
    ours.chmod(0o644)  # as an earlier release left it
    said += [ask("cuda", _ansible_check_mode=True), ask("cuda"), ask("cuda")]
    assert [answer["changed"] for answer in said] == [True, True, True, False]
    assert ours.stat().st_mode & 0o777 == 0o600 and "hunter2" not in json.dumps(said)
