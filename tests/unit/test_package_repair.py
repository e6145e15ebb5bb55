"""What an interrupted apt left is announced in check mode, and finished otherwise, without removing anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gpulab.workstation.plugins.modules import package_repair as module

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """The module itself, where dpkg-query prints ``packages``; returns what it answers, and what was run."""

    def run(packages: str, **options: Any) -> dict[str, Any]:
        asked = []

        def command(argv: list[str]) -> tuple[int, str, str]:
            asked.append(" ".join(argv))
            return 0, packages if argv[0] == "dpkg-query" else "", ""

        monkeypatch.setattr(module, "quiet_runner", lambda _module, patience: command)
        with patch_module_args(options), pytest.raises(SystemExit):
            module.main()
        return {**json.loads(capsys.readouterr().out), "asked": asked}

    return run


def test_what_is_half_done_is_announced_and_then_finished(ask: Ask) -> None:
    half = "iF \tlibcuda1\t1\nii \tdkms\t3\n"
    announced = ask(half, _ansible_check_mode=True)
    assert (announced["changed"], announced["repaired"]) == (True, ["libcuda1"])
    assert [line.split()[0] for line in announced["asked"]] == ["dpkg-query"]
    done = ask(half, lock_timeout=7)
    assert done["changed"] and any("DPkg::Lock::Timeout=7" in line and "--no-remove" in line for line in done["asked"])


def test_a_machine_without_anything_half_done_is_left_alone(ask: Ask) -> None:
    answer = ask("ii \tdkms\t3\n")
    assert not answer["changed"] and len(answer["asked"]) == 1
