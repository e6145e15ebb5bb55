"""The kernel gets modules of the very driver whose packages are there, or the run says what it would load instead."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gpulab.workstation.plugins.module_utils._driver_module import ModuleFile
from ansible_collections.gpulab.workstation.plugins.modules import driver_modules as module

OLD = ModuleFile("/lib/modules/6.8.0/kernel/nvidia.ko", "535.1", "proprietary", False)
NEW = ModuleFile("/lib/modules/6.8.0/updates/dkms/nvidia.ko", "580.2", "open", True)
PACKED = ModuleFile("/lib/modules/6.8.0/updates/dkms/nvidia.ko.zst")
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """The module itself, on a machine whose kernel would load ``before``, and ``after`` once DKMS has been at work."""

    def run(before: ModuleFile | None, after: ModuleFile | None, **options: Any) -> dict[str, Any]:
        loads = [before]

        def build(argv: list[str]) -> tuple[int, str, str]:
            assert argv[:2] == ["dkms", "autoinstall"]
            loads.append(after)
            return 0, "", ""

        monkeypatch.setattr(module, "find_module", lambda _tree, _kernel: loads[-1])
        monkeypatch.setattr(module, "quiet_runner", lambda _module: build)
        monkeypatch.setattr(module.AnsibleModule, "get_bin_path", lambda *_names, **_more: "/usr/sbin/dkms")
        monkeypatch.setattr(module, "_build_errors", lambda: "")
        with patch_module_args({"kernel": "6.8.0", **options}), pytest.raises(SystemExit):
            module.main()
        return {**json.loads(capsys.readouterr().out), "built": len(loads) > 1}

    return run


@pytest.mark.parametrize("found", [NEW, PACKED])
def test_modules_of_the_driver_are_left_alone(ask: Ask, found: ModuleFile) -> None:
    answer = ask(found, None, version="580.2")
    assert (answer["changed"], answer["built"], answer["module"]) == (False, False, found.path)


@pytest.mark.parametrize("found", [None, OLD])
def test_modules_that_are_missing_or_of_another_driver_are_built(ask: Ask, found: ModuleFile | None) -> None:
    answer = ask(found, NEW, version="580.2")
    assert (answer["changed"], answer["version"]) == (True, "580.2")
    assert not ask(found, NEW, version="580.2", _ansible_check_mode=True)["built"]


def test_a_module_of_another_driver_that_stays_in_the_way_is_named(ask: Ask) -> None:
    message = ask(OLD, OLD, version="580.2")["msg"]
    assert OLD.path in message and "535.1 and not of 580.2" in message


def test_a_kernel_that_no_module_compiles_for_is_named(ask: Ask) -> None:
    assert "no NVIDIA module for kernel 6.8.0" in ask(None, None, version="580.2")["msg"]


def test_any_version_serves_where_none_is_asked_for(ask: Ask) -> None:
    assert not ask(OLD, None)["changed"]
