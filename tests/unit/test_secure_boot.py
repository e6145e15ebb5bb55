"""What Secure Boot asks for, from what the machine says."""

from __future__ import annotations

from typing import List

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils import _secure_boot
from ansible_collections.gpulab.workstation.plugins.module_utils._secure_boot import Situation, steps

CERTIFICATE = "/var/lib/dkms/mok.pub"


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
    assert steps(situation) == todo


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
