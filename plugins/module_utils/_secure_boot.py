# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide what Secure Boot asks of a machine whose kernel modules are built on it.

The firmware loads only what is signed by a key it knows. DKMS signs with a key of the machine; that key is enrolled by
a person at the console, who types a password that was set before the reboot. There is no way around the person, and
that is the point of Secure Boot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import List, Optional

# Ubuntu signs with the key of its shim; Debian and EL with the one that DKMS makes.
KEYS = {
    "ubuntu": ("/var/lib/shim-signed/mok/MOK.priv", "/var/lib/shim-signed/mok/MOK.der"),
    "other": ("/var/lib/dkms/mok.key", "/var/lib/dkms/mok.pub"),
}


@dataclass(frozen=True)
class Situation:
    """What the machine says.

    Attributes:
        state: "enabled", "disabled", or None where the firmware knows no Secure Boot.
        certificate: Path of the certificate that modules are signed with; None where there is none yet.
        enrolled: Whether the firmware trusts it.
        staged: Whether its enrolment waits for the next boot.
    """

    state: Optional[str]
    certificate: Optional[str] = None
    enrolled: bool = False
    staged: bool = False


def steps(situation: Situation, *, enrol: bool) -> List[str]:
    """Return what is to be done, in order: "make" a key, "stage" its enrolment, "confirm" it at the console.

    Without ``enrol`` there is to be a key, and nobody has to trust it yet.
    """
    if situation.state != "enabled" or situation.enrolled:
        return []
    todo = [] if situation.certificate else ["make"]
    return [*todo, *(["stage"] if enrol and not situation.staged else []), *(["confirm"] if enrol else [])]


def parse_state(text: str) -> Optional[str]:
    """Return the state from what ``mokutil --sb-state`` prints."""
    found = re.search(r"SecureBoot (enabled|disabled)", text)
    return found.group(1) if found else None


def parse_test_key(text: str) -> bool:
    """Return whether ``mokutil --test-key`` says that the firmware trusts the key."""
    return re.search(r"is already (?:enrolled|in the built-in trusted keyring)", text) is not None


def parse_staged(text: str) -> bool:
    """Return whether ``mokutil --test-key`` says that the key waits for its enrolment."""
    return "is already in the enrollment request" in text


def instruction(*, password: str, host: str) -> str:
    """Return what the person at the console has to do."""
    secret = f"the password {password}" if password else "the password that was shown when it was staged"
    return (
        f"Secure Boot is on, and {host} does not trust the key that signs its driver yet. Reboot it and go to its"
        " console: a blue screen, MOK management, waits about ten seconds."
        f" Choose Enroll MOK, Continue, Yes, and type {secret}."
        " Then choose Reboot, and run this again: it verifies the key and goes on."
    )
