"""Receipts hold what was done and never claim what is no longer true."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gpulab.workstation.plugins.module_utils import _receipt
from ansible_collections.gpulab.workstation.plugins.modules import receipt as receipt_module

DPKG_STATUS = """\
Package: bash
Status: install ok installed
Version: 5.2.15-2+b8

Package: libcuda1
Status: hold ok installed
Version: 580.95.05

Package: gcc
Status: deinstall ok config-files
Version: 4:12.2.0-3

Package: make
Status: install ok half-configured
Version: 4.3-4.1
"""


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine's tree with a file, a link, an environment and a package."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/limits.conf").write_text("nofile 65536\n")
    (tmp_path / "env-1/lib/python3.11/site-packages/keras-3.12.4.dist-info").mkdir(parents=True)
    (tmp_path / "env").symlink_to("env-1")
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(DPKG_STATUS)
    return tmp_path


def receipt_of(machine: Path, **more: object) -> dict:
    evidence = _receipt.observe(
        root=str(machine),
        files=["/etc/limits.conf"],
        links=["/env"],
        environments=["/env-1"],
        packages=["bash"],
        holds=["libcuda1"],
    )
    given = {"component": "demo", "version": "1", "inputs": {}, "details": {}, **more}
    return _receipt.compose(evidence=evidence, **given)


def test_an_untouched_machine_bears_the_receipt_out(machine):
    assert _receipt.broken(receipt_of(machine), root=str(machine)) == []


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (lambda m: (m / "etc/limits.conf").write_text("nofile 1024\n"), "file"),
        (lambda m: (m / "etc/limits.conf").unlink(), "file"),
        (lambda m: ((m / "env").unlink(), (m / "env").symlink_to("env-2")), "link"),
        (lambda m: (m / "env-1/lib/python3.11/site-packages/pandas-3.0.dist-info").mkdir(), "environment"),
        (lambda m: (m / "var/lib/dpkg/status").write_text(DPKG_STATUS.replace("5.2.15", "5.2.16")), "package"),
        (lambda m: (m / "var/lib/dpkg/status").write_text(DPKG_STATUS.replace("hold ok", "install ok")), "hold"),
    ],
)
def test_every_kind_of_change_by_hand_is_seen_and_named(machine, harm, kind):
    receipt = receipt_of(machine)
    harm(machine)
    assert [item["kind"] for item in _receipt.broken(receipt, root=str(machine))] == [kind]


def test_a_package_that_is_gone_is_named(machine):
    receipt = receipt_of(machine)
    (machine / "var/lib/dpkg/status").write_text("")
    assert [(item["kind"], item["found"]) for item in _receipt.broken(receipt, root=str(machine))] == [
        ("package", None),
        ("hold", None),
    ]


def test_a_role_cannot_record_what_it_did_not_leave(machine):
    evidence = _receipt.observe(root=str(machine), files=["/etc/absent"], packages=["gcc", "make"])
    with pytest.raises(_receipt.ReceiptError, match="file /etc/absent, package gcc, package make"):
        _receipt.compose(component="demo", version="", inputs={}, evidence=evidence, details={})


def test_passwords_in_urls_are_not_recorded(machine):
    inputs = {"demo_index_url": "https://user:secret@mirror.example/simple", "demo_list": ["http://me@host/x"]}
    receipt = receipt_of(machine, inputs=inputs)
    assert "secret" not in json.dumps(receipt)
    assert receipt["inputs"] == {"demo_index_url": "https://mirror.example/simple", "demo_list": ["http://host/x"]}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 99, "component": "demo"}', '{"schema": 1, "component": "x"}']
)
def test_what_is_not_a_receipt_counts_as_none(machine, text):
    path = Path(_receipt.receipt_path("demo", root=str(machine)))
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert _receipt.components(root=str(machine)) == ["demo"]
    assert _receipt.read("demo", root=str(machine)) is None


@pytest.fixture
def write(tmp_path, monkeypatch, capsys):
    """The module itself, for the component demo with its receipts in a folder; returns what it answers."""
    monkeypatch.setattr(_receipt, "RECEIPTS_DIR", str(tmp_path / "receipts"))

    def run(**options: Any) -> dict[str, Any]:
        with patch_module_args({"component": "demo", **options}), pytest.raises(SystemExit):
            receipt_module.main()
        return json.loads(capsys.readouterr().out)

    return run


def test_the_receipt_before_comes_back_with_what_it_is_evidence_of(write, tmp_path):
    installed = tmp_path / "installed"
    for version in ("1", "2"):
        installed.write_text(version)
        write(version=version, files=[str(installed)])
    write(version="2", files=[str(installed)], inputs={"demo_hold": False})  # another wish, the same thing installed
    installed.write_text("1")
    assert write(state="previous", _ansible_check_mode=True)["changed"]
    assert write(state="previous")["receipt"]["version"] == "1"
    assert _receipt.read("demo")["version"] == "1"


def test_a_receipt_before_that_the_machine_does_not_bear_out_does_not_come_back(write, tmp_path):
    installed = tmp_path / "installed"
    for version in ("1", "2"):
        installed.write_text(version)
        write(version=version, files=[str(installed)])
    installed.write_text("3")
    assert write(state="previous")["receipt"] is None
    assert _receipt.read("demo") is None


def test_a_receipt_stays_where_what_was_put_back_had_not_come_as_far_as_another(write, tmp_path):
    installed = tmp_path / "installed"
    for version in ("1", "2"):
        installed.write_text(version)
        write(version=version, files=[str(installed)])
    installed.write_text("3")  # and no receipt
    installed.write_text("2")
    assert not write(state="previous")["changed"]
    assert _receipt.read("demo")["version"] == "2"


def test_nothing_is_left_of_a_component_that_is_taken_off(write, tmp_path):
    installed = tmp_path / "installed"
    for version in ("1", "2"):
        installed.write_text(version)
        write(version=version, files=[str(installed)])
    assert write(state="absent")["changed"]
    assert [path for path in (tmp_path / "receipts").rglob("*") if path.is_file()] == []


def test_a_receipt_leads_to_what_its_component_is_made_of_today(machine):
    evidence = _receipt.observe(root=str(machine), environments=["/env-1"], packages=["libcuda1"])
    receipt = {"evidence": evidence}
    assert _receipt.materials(receipt, root=str(machine)) == [
        {"kind": "distribution", "name": "keras", "version": "3.12.4"},
        {"kind": "package", "name": "libcuda1", "version": "580.95.05"},
    ]
    (machine / "env-1/lib/python3.11/site-packages/keras-3.12.4.dist-info").rename(
        machine / "env-1/lib/python3.11/site-packages/keras-3.15.1.dist-info"
    )
    assert _receipt.materials(receipt, root=str(machine))[0]["version"] == "3.15.1"


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_all_may_read_a_receipt_and_only_root_may_change_it_whatever_the_mask(write, tmp_path, mask):
    before = os.umask(mask)
    try:
        write(version="1")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "receipts", tmp_path / "receipts/demo.json")]
    assert modes == [0o755, 0o644]
