"""What Secure Boot asks for, from what the machine says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable, Dict, List, cast

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gpulab.workstation.plugins.module_utils import _secure_boot
from ansible_collections.gpulab.workstation.plugins.module_utils._dkms import configured_keys
from ansible_collections.gpulab.workstation.plugins.module_utils._gpu_platform import read_secure_boot
from ansible_collections.gpulab.workstation.plugins.module_utils._secure_boot import Situation, steps
from ansible_collections.gpulab.workstation.plugins.module_utils._tree import Tree
from ansible_collections.gpulab.workstation.plugins.modules import secure_boot_key
from support.pci_tree import EFIVARS, SHIM, MachineTree

CERTIFICATE = "/var/lib/dkms/mok.pub"
LAB = ("/root/lab.key", "/root/lab.der")
BOTH = 'mok_signing_key="/root/lab.key"\nmok_certificate="/root/lab.der"\n'


@pytest.mark.parametrize(
    ("situation", "todo"),
    [
        (Situation(state=None), []),
        (Situation(state="disabled"), []),
        (Situation(state="disabled", certificate=CERTIFICATE), []),
        (Situation(state="enabled"), ["make", "stage", "confirm"]),
        (Situation(state="enabled", certificate=CERTIFICATE), ["stage", "confirm"]),
        (Situation(state="enabled", certificate=CERTIFICATE, staged=True), ["confirm"]),
        (Situation(state="enabled", certificate=CERTIFICATE, enrolled=True), []),
    ],
)
def test_each_situation_has_its_steps(situation: Situation, todo: List[str]) -> None:
    assert steps(situation, enrol=True) == todo
    assert steps(situation, enrol=False) == [step for step in todo if step == "make"]


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("SecureBoot enabled\n", "enabled"),
        ("SecureBoot disabled\nPlatform is in Setup Mode\n", "disabled"),
        ("EFI variables are not supported on this system\n", None),
        ("", None),
    ],
)
def test_the_state_is_read_from_mokutil(text: str, state: str) -> None:
    assert _secure_boot.parse_state(text) == state


def test_an_enrolled_key_is_told_from_a_staged_and_an_unknown_one() -> None:
    enrolled = f"{CERTIFICATE} is already enrolled\n"
    staged = f"{CERTIFICATE} is already in the enrollment request\n"
    unknown = f"{CERTIFICATE} is not enrolled\n"
    assert [_secure_boot.parse_test_key(text) for text in (enrolled, staged, unknown)] == [True, False, False]
    assert [_secure_boot.parse_staged(text) for text in (enrolled, staged, unknown)] == [False, True, False]


def test_the_instruction_says_where_to_go_and_what_to_type() -> None:
    text = _secure_boot.instruction(password="0123456789", host="ws1")
    assert "ws1" in text and "0123456789" in text and "Enroll MOK" in text
    assert "was shown" in _secure_boot.instruction(password="", host="ws1")


@pytest.mark.parametrize(
    ("options", "changed", "staged", "told"),
    [
        ({"enrol": False}, True, False, ""),
        ({}, True, True, "type the password "),
        ({"enrol": False, "_ansible_check_mode": True}, True, False, ""),
        ({"_ansible_check_mode": True}, True, False, "a person has to confirm at the console"),
    ],
    ids=["a key", "its enrolment", "a key, in check mode", "its enrolment, in check mode"],
)
def test_an_enrolment_is_staged_and_announced_only_where_it_is_asked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: Dict[str, Any],
    changed: bool,
    staged: bool,
    told: str,
) -> None:
    asked, key = tmp_path / "asked", tmp_path / "mok.key"
    mokutil = tmp_path / "mokutil"
    says = "--sb-state) echo SecureBoot enabled;; --test-key) echo $2 is not enrolled;; --import) cat > /dev/null"
    mokutil.write_text(f'#!/bin/sh\necho "$@" >> {asked}\ncase $1 in {says};; esac\n')
    mokutil.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(_secure_boot, "KEYS", {"other": (str(key), f"{key}.pub")})
    monkeypatch.setattr(secure_boot_key, "_make", lambda _module, path, _certificate: Path(path).touch())
    warned: List[str] = []  # of Ansible's own, one that was given before in this process is not told again
    monkeypatch.setattr(secure_boot_key.AnsibleModule, "warn", lambda _self, text: warned.append(text))
    with patch_module_args(options), pytest.raises(SystemExit):
        secure_boot_key.main()
    answer = json.loads(capsys.readouterr().out)
    assert answer["changed"] is changed
    assert ("--import" in asked.read_text()) is staged
    said = answer["instruction"] + "".join(warned)
    assert told in said if told else not said
    assert key.exists() is not options.get("_ansible_check_mode", False)


# ---- a key of the lab's own, as DKMS is told of it


@pytest.mark.parametrize(
    ("files", "keys"),
    [
        ({}, None),
        ({"framework.conf": '# mok_signing_key="/root/mok.key"\n'}, None),
        ({"framework.conf": "mok_signing_key=/root/lab.key\nmok_certificate='/root/lab.der' # ours\n"}, LAB),
        ({"framework.conf": "mok_signing_key=/x\n", "framework.conf.d/lab.conf": BOTH, "framework.conf.d/x": "#"}, LAB),
        ({"framework.conf": 'mok_signing_key="/root/lab.key"\n'}, ("/root/lab.key", CERTIFICATE)),
        ({"framework.conf": 'mok_signing_key="pkcs11:object=lab"\n'}, ("pkcs11:object=lab", CERTIFICATE)),
    ],
)
def test_the_key_that_dkms_is_told_to_sign_with_is_known(tmp_path: Path, files: Dict[str, str], keys: Any) -> None:
    machine = MachineTree(tmp_path)
    for name, text in files.items():
        machine.write(f"etc/dkms/{name}", text)
    assert configured_keys(Tree(str(machine.root))) == keys


def test_gpu_info_tells_of_that_key_s_certificate(tmp_path: Path) -> None:
    machine = MachineTree(tmp_path).write("var/lib/dkms/mok.pub", "another").write("root/lab.der", "ours")
    machine.write("etc/dkms/framework.conf", BOTH).secure_boot(enabled=True)
    machine.write(f"{EFIVARS}/MokListRT-{SHIM}", "… ours …")
    found = read_secure_boot(Tree(str(machine.root)), container=None)
    assert (found["certificate"], found["enrolled"]) == ("/root/lab.der", True)


@pytest.fixture
def ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Dict[str, Any]]:
    """The module itself, under Secure Boot, where DKMS is told of a key whose files are ``there``."""

    def run(there: List[str]) -> Dict[str, Any]:
        key, certificate = str(tmp_path / "lab.key"), str(tmp_path / "lab.der")
        for name in there:
            (tmp_path / name).write_text("")
        says = {"--sb-state": "SecureBoot enabled", "--test-key": f"{certificate} is not enrolled"}
        monkeypatch.setattr(secure_boot_key, "configured_keys", lambda _tree: (key, certificate))
        monkeypatch.setattr(secure_boot_key, "quiet_runner", lambda _module: lambda argv: (0, says[argv[1]], ""))
        monkeypatch.setattr(secure_boot_key.AnsibleModule, "get_bin_path", lambda *_names: "/usr/bin/mokutil")
        with patch_module_args({"_ansible_check_mode": True}), pytest.raises(SystemExit):
            secure_boot_key.main()
        return cast(Dict[str, Any], json.loads(capsys.readouterr().out))

    return run


def test_a_key_of_the_lab_s_own_is_the_one_to_be_enrolled(ask: Callable[..., Dict[str, Any]]) -> None:
    answer = ask(["lab.key", "lab.der"])
    assert answer["certificate"].endswith("/lab.der") and answer["changed"]


@pytest.mark.parametrize(("there", "missing"), [(["lab.key"], "lab.der"), (["lab.der"], "lab.key")])
def test_a_key_of_the_lab_s_own_is_never_made(
    ask: Callable[..., Dict[str, Any]], there: List[str], missing: str
) -> None:
    answer = ask(there)
    assert answer["failed"] and f"/{missing} is not there" in answer["msg"]
