"""EPEL is enabled only where something is lacking, and never stays where it does not help. Real dnf: driver_el_like."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gpulab.workstation.plugins.modules import epel as module

ROCKY = "crb              Rocky Linux 9 - CRB\ncrb-debug        Rocky Linux 9 - CRB Debug\n"
RHEL = "codeready-builder-for-rhel-9-x86_64-debug-rpms X\ncodeready-builder-for-rhel-9-x86_64-rpms       X\n"
ORACLE = "ol9_codeready_builder  Oracle Linux 9 CodeReady Builder\n"


class Host:
    """What dnf and rpm answer. ``offered`` grows by what ``brings`` says of an installed package."""

    def __init__(self, *, offered: set[str], disabled: str = "", brings: dict[str, set[str]] | None = None) -> None:
        self.installed: set[str] = set()
        self.offered, self.disabled, self.brings = offered, disabled, brings or {}
        self.enabled: list[str] = []

    def run(self, argv: list[str]) -> tuple[int, str, str]:
        words = [word for word in argv if not word.startswith("-")]
        if words[0] == "rpm":
            return (0 if words[-1] in self.installed else 1), "", ""
        if words[1] == "repoquery":
            return 0, "\n".join(sorted(self._offered() & set(words))), ""
        if words[1] == "repolist":
            return 0, self.disabled, ""
        if words[1] == "config-manager":
            (self.enabled.append if "--set-enabled" in argv else self.enabled.remove)(words[-1])
        elif words[1] == "install":
            self.installed.add(words[-1])
        elif words[1] == "remove":
            self.installed.discard(words[-1])
        return 0, "", ""

    def _offered(self) -> set[str]:
        return self.offered.union(*(self.brings.get(package, set()) for package in self.installed))


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """The module itself on a host; returns what it answers."""

    def run(host: Host, *, check: bool = False) -> dict[str, Any]:
        monkeypatch.setattr(module, "quiet_runner", lambda _module: host.run)
        with patch_module_args({"_ansible_check_mode": check}), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    return run


@pytest.mark.parametrize(
    ("disabled", "enabled"),
    [(ROCKY, "crb"), (RHEL, "codeready-builder-for-rhel-9-x86_64-rpms"), (ORACLE, "ol9_codeready_builder"), ("", None)],
)
def test_it_comes_with_the_repository_that_it_builds_on(ask, disabled: str, enabled: str | None) -> None:
    host = Host(offered={"epel-release"}, disabled=disabled, brings={"epel-release": {"dkms"}})
    announced = ask(host, check=True)
    assert host.installed == set() and announced["changed"]
    made = ask(host)
    assert (
        (made["release"], made["enabled"]) == (announced["release"], announced["enabled"]) == ("epel-release", enabled)
    )
    assert host.enabled == ([enabled] if enabled else [])
    assert not ask(host)["changed"]


def test_a_lab_s_own_repository_that_has_it_is_enough(ask) -> None:
    host = Host(offered={"epel-release", "dkms"})
    assert not ask(host)["changed"]
    assert host.installed == set()


def test_where_the_distribution_does_not_offer_it_the_way_out_is_named(ask) -> None:
    for check in (True, False):
        answer = ask(Host(offered=set(), disabled=RHEL), check=check)
        assert answer["failed"]
        assert "dkms, which is needed" in answer["msg"] and "Enable EPEL on this machine" in answer["msg"]


def test_what_an_administrator_disabled_is_not_enabled_behind_their_back(ask) -> None:
    host = Host(offered={"epel-release"})
    host.installed = {"epel-release"}
    assert "epel-release is installed, so its repository is disabled" in ask(host)["msg"]
    assert host.installed == {"epel-release"}


def test_one_that_does_not_help_is_disabled_again(ask) -> None:
    host = Host(offered={"epel-release"}, disabled=ROCKY)
    answer = ask(host)
    assert "EPEL was enabled, and disabled again. EPEL does not have dkms." in answer["msg"]
    assert (host.installed & {"epel-release"}, host.enabled) == (set(), [])
