#!/usr/bin/python
# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: package_set
short_description: Install, change or remove packages that belong together as one set
version_added: "1.0.0"
description:
  - Brings all packages of a set to one version in one transaction, up or down, and keeps them there.
  - Packages that fit what is asked for are left as they are, also when a source offers newer ones.
  - Finishes first what an interrupted run left half done.
options:
  name:
    description: The set's name; the files that pin and hold it carry it.
    type: str
    required: true
  state:
    description: V(previous) puts back the packages that the last change replaced.
    type: str
    choices: [present, absent, previous]
    default: present
  packages:
    description: The packages that are asked for. The first one's version is the version of the set.
    type: list
    elements: str
    default: []
  release:
    description: What the set's version has to begin with, such as V(12.8) or V(12.8.1); anything when empty.
    type: str
    default: ""
  owned:
    description:
      - Globs of the packages that belong to the set, dependencies included. The last glob that fits a name decides, and
        one that begins with C(!) decides against.
    type: list
    elements: str
    required: true
  hold:
    description: Whether upgrades of the system leave the set alone.
    type: bool
    default: true
  sources_pending:
    description: Whether the source is yet to be added, as in check mode, so that unknown packages are expected.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Says what the transaction would be.
  diff_mode:
    support: full
    description: Shows the set's packages before and after.
author:
  - The gpulab.workstation authors (@gpulab)
seealso:
  - module: gpulab.workstation.driver_packages
"""

EXAMPLES = r"""
- name: Install a CUDA toolkit without a driver
  gpulab.workstation.package_set:
    name: cuda-12-8
    packages: [cuda-toolkit-12-8]
    owned: ["cuda-*-12-8", "lib*-12-8", "lib*-dev-12-8"]
"""

RETURN = r"""
version:
  description: Version of the set after the change, without the packaging revision.
  returned: success
  type: str
  sample: 12.8.1
previous:
  description: Version of the set's first package before the change; null where there was none.
  returned: success
  type: str
  sample: 12.8.0-1
packages:
  description: The set's packages after the change, with their versions.
  returned: success
  type: dict
  sample: {cuda-toolkit-12-8: 12.8.1-1}
install:
  description: Packages that were, or would be, installed or brought to another version.
  returned: success
  type: dict
  sample: {cuda-toolkit-12-8: 12.8.1-1}
remove:
  description: Packages that were, or would be, removed.
  returned: success
  type: list
  elements: str
  sample: []
repaired:
  description: Packages that an interrupted run had left half done.
  returned: success
  type: list
  elements: str
  sample: []
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpulab.workstation.plugins.module_utils._files import NotWritten
from ansible_collections.gpulab.workstation.plugins.module_utils._package_managers import package_manager, quiet_runner
from ansible_collections.gpulab.workstation.plugins.module_utils._package_set import PackageSet
from ansible_collections.gpulab.workstation.plugins.module_utils._packages import PackageError, Request
from ansible_collections.gpulab.workstation.plugins.module_utils._system import read_system


def main() -> None:
    # What is written is for all to read and for root to change, whatever mask the administrator works with.
    os.umask(0o022)
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent", "previous"], "default": "present"},
            "packages": {"type": "list", "elements": "str", "default": []},
            "release": {"type": "str", "default": ""},
            "owned": {"type": "list", "elements": "str", "required": True},
            "hold": {"type": "bool", "default": True},
            "sources_pending": {"type": "bool", "default": False},
        },
        required_if=[("state", "present", ["packages"])],
        supports_check_mode=True,
    )
    wanted = module.params
    request = Request(
        name=wanted["name"],
        choices=[wanted["packages"]],
        owned=wanted["owned"],
        anchor=wanted["packages"][:1],
        release=wanted["release"],
    )
    try:
        manager = package_manager(family=read_system(places=())["family"], run=quiet_runner(module))
        outcome = PackageSet(manager=manager, request=request).ensure(
            state=wanted["state"],
            hold=wanted["hold"],
            check=module.check_mode,
            sources_pending=wanted["sources_pending"],
        )
    except (PackageError, NotWritten) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**outcome.result())


if __name__ == "__main__":
    main()
