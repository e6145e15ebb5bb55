#!/usr/bin/python
# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: secure_boot_key
short_description: Bring the key that signs this machine's kernel modules before Secure Boot
version_added: "1.0.0"
description:
  - Where Secure Boot is on, makes the machine's key for kernel modules if there is none, and stages its enrolment.
  - A key that C(/etc/dkms/framework.conf) or C(framework.conf.d) names is the one to be enrolled, and is never made.
  - The enrolment itself is confirmed by a person at the console at the next boot, with a password for this one time.
  - Does nothing where Secure Boot is off, or the key is enrolled.
options:
  enrol:
    description:
      - Whether the firmware is to trust the key. With V(false) the key is made, for what is built next to be signed
        with it, and no enrolment is staged.
    type: bool
    default: true
  password:
    description: The password to type at the console; made up when empty, and returned either way.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Says whether a key would be made or its enrolment staged, and warns of the way to the console.
  diff_mode:
    support: none
    description: There is nothing to compare.
requirements:
  - mokutil, openssl
author:
  - The gpulab.workstation authors (@gpulab)
"""

EXAMPLES = r"""
- name: Have a key to sign the driver with
  gpulab.workstation.secure_boot_key:
    enrol: false

- name: Have the key that signed the driver trusted
  gpulab.workstation.secure_boot_key:
  register: key
"""

RETURN = r"""
state:
  description: V(enabled), V(disabled), or null where the firmware knows no Secure Boot.
  returned: success
  type: str
  sample: enabled
enrolled:
  description: Whether the firmware trusts the key.
  returned: success
  type: bool
  sample: false
certificate:
  description: Path of the certificate; null where none is needed.
  returned: success
  type: str
  sample: /var/lib/dkms/mok.pub
instruction:
  description: What a person has to do at the console; empty when nothing, and in check mode.
  returned: success
  type: str
  sample: Secure Boot is on, and this machine does not trust the key that signs its driver yet. Reboot it and …
"""

import os
import secrets

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpulab.workstation.plugins.module_utils import _secure_boot
from ansible_collections.gpulab.workstation.plugins.module_utils._dkms import configured_keys
from ansible_collections.gpulab.workstation.plugins.module_utils._package_managers import quiet_runner
from ansible_collections.gpulab.workstation.plugins.module_utils._system import read_system
from ansible_collections.gpulab.workstation.plugins.module_utils._tree import Tree

# Ten digits are typed without a mistake on a keyboard of any layout.
PASSWORD_DIGITS = 10
AHEAD = (
    "Secure Boot is on: a person has to confirm at the console that the key which signs the driver is to be trusted."
    " The run brings the driver, says what to do there, and stops; the next one goes on."
)

MISSING = (
    "Secure Boot is on, and DKMS is told in /etc/dkms to sign with a key of your own, of which {missing} is not there."
    " Bring it, or take the setting out and let the machine have a key made for it."
)


def _situation(run, certificate):
    state = _secure_boot.parse_state("".join(run(["mokutil", "--sb-state"])[1:]))
    if state != "enabled" or not os.path.exists(certificate):
        return _secure_boot.Situation(state=state)
    answer = "".join(run(["mokutil", "--test-key", certificate])[1:])
    return _secure_boot.Situation(
        state=state,
        certificate=certificate,
        enrolled=_secure_boot.parse_test_key(answer),
        staged=_secure_boot.parse_staged(answer),
    )


def _make(module, key, certificate):
    os.makedirs(os.path.dirname(key), mode=0o755, exist_ok=True)
    # The extended usages are those that the kernel and shim look for in a key that signs modules.
    module.run_command(
        [
            "openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "36500", "-outform", "DER",
            "-subj", "/CN=DKMS module signing key", "-addext", "extendedKeyUsage=codeSigning",
            "-keyout", key, "-out", certificate,
        ],
        check_rc=True,
    )  # fmt: skip
    os.chmod(key, 0o600)


def _stage(module, certificate, password):
    # mokutil asks twice for the password, and reads it from where it is told.
    status, out, err = module.run_command(["mokutil", "--import", certificate], data=f"{password}\n{password}")
    if status != 0:
        module.fail_json(msg=f"The enrolment of {certificate} cannot be staged: {(out + err).strip()}")


def main() -> None:
    # What is written is for all to read and for root to change, whatever mask the administrator works with.
    os.umask(0o022)
    module = AnsibleModule(
        argument_spec={
            "enrol": {"type": "bool", "default": True},
            "password": {"type": "str", "default": "", "no_log": True},
        },
        supports_check_mode=True,
    )
    # Without mokutil there is no Secure Boot to speak of: shim and the package come together.
    if module.get_bin_path("mokutil") is None:
        module.exit_json(changed=False, state=None, enrolled=False, certificate=None, instruction="")
    system = read_system(places=())
    configured = configured_keys(Tree("/"))
    key, certificate = configured or _secure_boot.KEYS.get(system["id"], _secure_boot.KEYS["other"])
    situation = _situation(quiet_runner(module), certificate)
    missing = [path for path in configured or () if not (path.startswith("pkcs11:") or os.path.exists(path))]
    if missing and situation.state == "enabled":
        module.fail_json(msg=MISSING.format(missing=missing[0]))
    todo = _secure_boot.steps(situation, enrol=module.params["enrol"])
    password = module.params["password"] or "".join(secrets.choice("0123456789") for _digit in range(PASSWORD_DIGITS))
    if not module.check_mode:
        if "make" in todo:
            _make(module, key, certificate)
        if "stage" in todo:
            _stage(module, certificate, password)
    elif "confirm" in todo:
        # What would be typed is not known before it is staged.
        module.warn(AHEAD)
    shown = _secure_boot.instruction(password=password if "stage" in todo else "", host=os.uname().nodename)
    module.exit_json(
        changed="make" in todo or "stage" in todo,
        state=situation.state,
        enrolled=situation.enrolled,
        certificate=certificate if situation.state == "enabled" else None,
        instruction=shown if "confirm" in todo and not module.check_mode else "",
    )


if __name__ == "__main__":
    main()
