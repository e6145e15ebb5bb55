#!/usr/bin/python
# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: receipt
short_description: Record what a component's role left on the machine
version_added: "1.0.0"
description:
  - Writes C(/var/lib/gpulab/receipts/<component>.json) with the inputs that the role was given and the evidence of its
    work, as found on the machine at this moment.
  - M(gpulab.workstation.stack_info) compares that evidence with the machine later, so that drift is seen without
    running the role.
  - Users and passwords in URLs are left out.
options:
  component:
    description: The component, which is the name of its role.
    type: str
    required: true
  state:
    description:
      - Whether there is a receipt.
      - With V(previous), the one that the machine bears out again after something was put back; the receipt before the
        last change of what it is evidence of, or this one where that change has not come as far as a receipt. None
        where it bears out neither.
    type: str
    choices: [present, absent, previous]
    default: present
  version:
    description: The version of what was installed, where the component has one.
    type: str
    default: ""
  inputs:
    description: The role's inputs by name.
    type: dict
    default: {}
  files:
    description: Files that the role wrote; each is recorded with its SHA-256.
    type: list
    elements: path
    default: []
  links:
    description: Symbolic links that the role made; each is recorded with its target.
    type: list
    elements: path
    default: []
  environments:
    description: Prefixes of Python environments; each is recorded with a digest of its distributions and versions.
    type: list
    elements: path
    default: []
  packages:
    description: Packages of the operating system that the role installed; each is recorded with its version.
    type: list
    elements: str
    default: []
  hold:
    description: Whether the role keeps upgrades away from O(packages); those that are held now are recorded as such.
    type: bool
    default: false
  details:
    description: Whatever else is to be kept with the receipt, such as the result of a proof.
    type: dict
    default: {}
attributes:
  check_mode:
    support: full
    description: Says whether the receipt would change.
  diff_mode:
    support: full
    description: Shows the receipt before and after.
author:
  - The gpulab.workstation authors (@gpulab)
"""
EXAMPLES = r"""
- name: Write the receipt
  gpulab.workstation.receipt:
    component: tensorflow
    version: 2.21.0
    inputs:
      tensorflow_version: 2.21.0
    links:
      - /opt/gpulab/envs/tensorflow
    environments:
      - /opt/gpulab/envs/tensorflow
"""

RETURN = r"""
receipt:
  description: The receipt as it is, or would be, on the machine. Null when it is absent.
  returned: success
  type: dict
  sample:
    schema: 1
    component: tensorflow
    version: 2.21.0
    inputs:
      tensorflow_version: 2.21.0
    evidence:
      - kind: link
        name: /opt/gpulab/envs/tensorflow
        state: tensorflow-5f1c9a02
    details: {}
"""

import json
import os
from typing import Any, Dict, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpulab.workstation.plugins.module_utils import _receipt
from ansible_collections.gpulab.workstation.plugins.module_utils._installed import held_packages


def _text(receipt: Optional[Dict[str, Any]]) -> str:
    return json.dumps(receipt, indent=2, sort_keys=True) + "\n" if receipt else ""


def _write(module: AnsibleModule, path: str, receipt: Optional[Dict[str, Any]]) -> None:
    """Put the receipt in place at once: a killed run leaves the old receipt or the new one, never half of one."""
    if receipt is None:
        if os.path.exists(path):
            os.unlink(path)
        return
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    draft = os.path.join(module.tmpdir, os.path.basename(path))
    with open(draft, "w", encoding="utf-8") as file:
        file.write(_text(receipt))
    os.chmod(draft, 0o644)
    module.atomic_move(draft, path)


def main() -> None:
    # What is written is for all to read and for root to change, whatever mask the administrator works with.
    os.umask(0o022)
    module = AnsibleModule(
        argument_spec={
            "component": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent", "previous"], "default": "present"},
            "version": {"type": "str", "default": ""},
            "inputs": {"type": "dict", "default": {}},
            "files": {"type": "list", "elements": "path", "default": []},
            "links": {"type": "list", "elements": "path", "default": []},
            "environments": {"type": "list", "elements": "path", "default": []},
            "packages": {"type": "list", "elements": "str", "default": []},
            "hold": {"type": "bool", "default": False},
            "details": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    component = wanted["component"]
    before, earlier = _receipt.read(component), _receipt.read(component, previous=True)
    after = None
    if wanted["state"] == "previous":
        after = next((known for known in (before, earlier) if known and not _receipt.broken(known)), None)
    if wanted["state"] == "present":
        holds = sorted(held_packages(names=wanted["packages"])) if wanted["hold"] else []
        named = {kind: wanted[kind] for kind in ("files", "links", "environments", "packages")}
        evidence = _receipt.observe(**named, holds=holds)
        try:
            after = _receipt.compose(
                evidence=evidence, **{k: wanted[k] for k in ("component", "version", "inputs", "details")}
            )
        except _receipt.ReceiptError as error:
            module.fail_json(msg=str(error))

    changed = before != after
    if changed and not module.check_mode:
        if wanted["state"] != "present":
            earlier = None
        elif before and after and before["evidence"] != after["evidence"]:
            earlier = before
        try:
            _write(module, _receipt.previous_path(component), earlier)
            _write(module, _receipt.receipt_path(component), after)
        except OSError as error:
            module.fail_json(msg=f"the receipt of {component} cannot be written: {error}")
    module.exit_json(changed=changed, receipt=after, diff={"before": _text(before), "after": _text(after)})


if __name__ == "__main__":
    main()
