#!/usr/bin/python
# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_info
short_description: Tell what a machine is and which components of the stack it has
version_added: "1.0.0"
description:
  - Reads what a stack has to fit (distribution, C library, compiler, Python interpreters, memory, disk) and, for each
    component that a role of this collection installed, whether it is still as the role left it.
  - Starts no process, but C(rpm) where packages of an RPM system are to be compared.
options:
  root:
    description: Reads the machine whose tree is mounted here. Processor and memory are those of the running machine.
    type: path
    default: /
  places:
    description:
      - Directories of which is told how much is free, whether they can be written, and by whom else.
      - One that does not exist yet counts as its nearest parent.
    type: list
    elements: path
    default: [/, /opt, /usr, /var, /tmp]
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: none
    description: Changes nothing.
author:
  - The gpulab.workstation authors (@gpulab)
seealso:
  - module: gpulab.workstation.gpu_info
  - module: gpulab.workstation.receipt
"""

EXAMPLES = r"""
- name: Look at the stack
  gpulab.workstation.stack_info:
  register: stack

- name: Look at an image that is mounted here
  gpulab.workstation.stack_info:
    root: /mnt/image
  register: image
"""

RETURN = r"""
system:
  description: What the machine is. A value that cannot be read is null.
  returned: success
  type: dict
  contains:
    id:
      description: The distribution, as in os-release.
      returned: success
      type: str
      sample: debian
    version:
      description: Its version, as in os-release.
      returned: success
      type: str
      sample: "12"
    codename:
      description: Its code name, where it has one.
      returned: success
      type: str
      sample: bookworm
    name:
      description: Its name for people.
      returned: success
      type: str
      sample: Debian GNU/Linux 12 (bookworm)
    family:
      description: The family by its packages.
      returned: success
      type: str
      sample: debian
    architecture:
      description: The machine's hardware name.
      returned: success
      type: str
      sample: x86_64
    kernel:
      description: Release of the running kernel.
      returned: success
      type: str
      sample: 6.1.0-37-amd64
    glibc:
      description: Version of the C library.
      returned: success
      type: str
      sample: "2.36"
    gcc:
      description: Version of the newest C compiler, null when there is none.
      returned: success
      type: str
      sample: "12"
    pythons:
      description: Python interpreters that every user can run, oldest first.
      returned: success
      type: list
      elements: dict
      sample: [{path: /usr/bin/python3.11, version: "3.11"}]
    cpu:
      description: Model and number of usable cores.
      returned: success
      type: dict
      sample: {model: AMD EPYC, cores: 2}
    memory_mib:
      description: Memory in MiB.
      returned: success
      type: int
      sample: 24105
    foreign_sources:
      description:
        - Sources of packages that offer NVIDIA's driver or CUDA and are none of this collection's. What they offer may
          replace what a role installed at the next upgrade.
      returned: success
      type: list
      elements: dict
      sample:
        - file: /etc/apt/sources.list.d/cuda-debian12-x86_64.list
          uri: https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/
    free_mib:
      description: Free space in MiB for ordinary users, by directory.
      returned: success
      type: dict
      sample: {"/opt": 81079}
    unwritable:
      description: Those of O(places) that the task's user cannot write, such as all of a read-only file system.
      returned: success
      type: list
      elements: path
      sample: []
    others_may_change:
      description:
        - The folders on the way to each of O(places), and that itself, that others than root may change, the last one
          last. They could put something else in the place of what root keeps or runs there.
        - One with the sticky bit counts only as long as the way goes no further.
      returned: success
      type: dict
      sample: {"/opt": []}
components:
  description:
    - The components that have a receipt, by name.
    - C(inputs_before) is what the role was given for what the last change replaced, empty where nothing was. As
      C(inputs), it has no users and passwords of URLs.
  returned: success
  type: dict
  sample:
    tensorflow:
      version: 2.21.0
      inputs: {tensorflow_version: 2.21.0}
      details: {}
      digest: 5f1c9a02
      materials:
        - kind: distribution
          name: keras
          version: 3.15.1
      intact: false
      broken:
        - kind: environment
          name: /opt/gpulab/envs/tensorflow
          expected: 9f86d081…
          found: 60303ae2…
      inputs_before: {tensorflow_version: 2.20.0}
"""

from typing import Any, Dict, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpulab.workstation.plugins.module_utils import _receipt
from ansible_collections.gpulab.workstation.plugins.module_utils._system import PLACES, read_system


def _component(name: str, root: str) -> Optional[Dict[str, Any]]:
    receipt = _receipt.read(name, root=root)
    if receipt is None:
        return None
    broken = _receipt.broken(receipt, root=root)
    # Where a change has come as far as the packages and not as far as a receipt, it replaced what this one is of.
    replaced = any(item["kind"] == "package" for item in broken)
    before = receipt if replaced else _receipt.read(name, root=root, previous=True)
    return {
        "version": receipt["version"],
        "inputs": receipt["inputs"],
        "details": receipt["details"],
        "digest": _receipt.digest(receipt),
        "materials": _receipt.materials(receipt, root=root),
        "intact": not broken,
        "broken": broken,
        "inputs_before": before["inputs"] if before else {},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "places": {"type": "list", "elements": "path", "default": list(PLACES)},
        },
        supports_check_mode=True,
    )
    root = module.params["root"]
    found = {name: _component(name, root) for name in _receipt.components(root=root)}
    module.exit_json(
        changed=False,
        system=read_system(root=root, places=module.params["places"]),
        components={name: component for name, component in found.items() if component},
    )


if __name__ == "__main__":
    main()
