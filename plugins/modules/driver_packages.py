#!/usr/bin/python
# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: driver_packages
short_description: Install, change or remove an NVIDIA driver's packages as one set
version_added: "1.0.0"
description:
  - Knows what each distribution and source calls the packages of a driver, and brings them to one version, one branch
    and one flavour of kernel modules in one transaction, up or down. Nothing of another driver is left beside them.
  - A driver that fits what is asked for is left as it is, also when a source offers a newer one.
  - Where no source offers what it lacks in its version, such as modules for the next kernel, it goes to the newest
    version of the branch of which all is offered. A version that was named exactly is refused then, with that one.
  - Finishes first what an interrupted run left half done.
  - Remembers the packages that it replaces, so that O(state=previous) can put them back.
  - Refuses a transaction that would remove anything that is not part of the driver.
options:
  state:
    description:
      - V(present) brings the driver to what the other options say.
      - V(absent) removes it, whatever its source.
      - V(previous) puts back the packages that the last change replaced.
    type: str
    choices: [present, absent, previous]
    default: present
  source:
    description: Whether the packages are those of the distribution's archive or of NVIDIA's repository.
    type: str
    choices: [distribution, nvidia]
    default: nvidia
  branch:
    description: The driver branch. Needed with O(state=present).
    type: str
    default: ""
  version:
    description: The exact version; any of the branch when empty.
    type: str
    default: ""
  modules:
    description: The flavour of the kernel modules.
    type: str
    choices: [open, proprietary]
    default: open
  precompiled:
    description: Whether to take modules that the distribution compiled and signed, where it offers them for the kernel.
    type: bool
    default: true
  kernel:
    description: Release of the kernel that the modules are for; the running one when empty.
    type: str
    default: ""
  display:
    description: Whether to install what a desktop needs as well.
    type: bool
    default: false
  fabric_manager:
    description: Whether to install the NVSwitch fabric manager.
    type: bool
    default: false
  extra:
    description: More packages, taken in the driver's version where they have it.
    type: list
    elements: str
    default: []
  reselect:
    description:
      - Whether a driver that fits is replaced when no source offers it, because the machine takes drivers from another
        source now.
    type: bool
    default: false
  hold:
    description: Whether upgrades of the system leave the driver alone.
    type: bool
    default: true
  sources_pending:
    description:
      - Whether the source is yet to be added, as in check mode. Packages that no source offers are then expected, and
        not an error.
    type: bool
    default: false
attributes:
  check_mode:
    support: full
    description: Says what the transaction would be.
  diff_mode:
    support: full
    description: Shows the driver's packages before and after.
author:
  - The gpulab.workstation authors (@gpulab)
seealso:
  - module: gpulab.workstation.package_set
  - module: gpulab.workstation.nvidia_repository
"""

EXAMPLES = r"""
- name: Install the newest driver of a branch, with open kernel modules
  gpulab.workstation.driver_packages:
    branch: "580"

- name: Bring the driver to one version of Debian's own packages
  gpulab.workstation.driver_packages:
    source: distribution
    branch: "535"
    version: 535.261.03
    modules: proprietary

- name: Put back the driver before this one
  gpulab.workstation.driver_packages:
    state: previous
"""

RETURN = r"""
version:
  description: Version of the driver after the change, as NVIDIA writes it; the branch where no more is known yet.
  returned: success
  type: str
  sample: 580.178.04
previous:
  description: Version of the driver that this one took the place of; null where there was none, or it had been removed.
  returned: always
  type: str
  sample: 580.95.05-1
replaced:
  description:
    - Whether the driver that was there is not as it was any more, or would not be. A change that failed half way tells
      so, too.
  returned: always
  type: bool
  sample: true
packages:
  description: The driver's packages after the change, with their versions.
  returned: success
  type: dict
  sample: {nvidia-smi: 535.261.03-1}
builds:
  description:
    - Whether a package of the driver has DKMS build its modules on the machine, to be signed by the machine's own key.
      Others come compiled, and signed by the distribution.
  returned: success
  type: bool
  sample: false
install:
  description: Packages that were, or would be, installed or brought to another version.
  returned: success
  type: dict
  sample: {nvidia-smi: 535.261.03-1}
remove:
  description: Packages that were, or would be, removed.
  returned: success
  type: list
  elements: str
  sample: [nvidia-kernel-dkms]
repaired:
  description: Packages that an interrupted run had left half done.
  returned: success
  type: list
  elements: str
  sample: []
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpulab.workstation.plugins.module_utils._driver_catalogue import (
    ANCHORS,
    BUILDERS,
    OWNED,
    Wish,
    any_driver,
    driver_request,
)
from ansible_collections.gpulab.workstation.plugins.module_utils._files import NotWritten
from ansible_collections.gpulab.workstation.plugins.module_utils._package_managers import package_manager, quiet_runner
from ansible_collections.gpulab.workstation.plugins.module_utils._package_set import PackageSet
from ansible_collections.gpulab.workstation.plugins.module_utils._packages import PackageError, anchor_of, matches
from ansible_collections.gpulab.workstation.plugins.module_utils._system import read_system


def _request(module, system, installed):
    wanted = module.params
    if wanted["state"] != "present":
        return any_driver(system=system)
    named = ("source", "branch", "version", "modules", "precompiled", "display", "fabric_manager", "extra", "reselect")
    wish = Wish(kernel=wanted["kernel"] or os.uname().release, **{name: wanted[name] for name in named})
    return driver_request(system=system, wish=wish, installed=installed)


def _driver(installed):
    return {name: version for name, version in installed.items() if matches(name, OWNED)}


def _replaced(before, after):
    return bool(before) and before != after


def _version(packages):
    anchor = anchor_of(ANCHORS, packages)
    return packages[anchor] if anchor else None


def main() -> None:
    # What is written is for all to read and for root to change, whatever mask the administrator works with.
    os.umask(0o022)
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent", "previous"], "default": "present"},
            "source": {"type": "str", "choices": ["distribution", "nvidia"], "default": "nvidia"},
            "branch": {"type": "str", "default": ""},
            "version": {"type": "str", "default": ""},
            "modules": {"type": "str", "choices": ["open", "proprietary"], "default": "open"},
            "precompiled": {"type": "bool", "default": True},
            "kernel": {"type": "str", "default": ""},
            "display": {"type": "bool", "default": False},
            "fabric_manager": {"type": "bool", "default": False},
            "extra": {"type": "list", "elements": "str", "default": []},
            "reselect": {"type": "bool", "default": False},
            "hold": {"type": "bool", "default": True},
            "sources_pending": {"type": "bool", "default": False},
        },
        required_if=[("state", "present", ["branch"])],
        supports_check_mode=True,
    )
    wanted = module.params
    try:
        system = read_system(places=())
        manager = package_manager(family=system["family"], run=quiet_runner(module))
        before = manager.installed()
        driver = PackageSet(manager=manager, request=_request(module, system, before))
    except PackageError as error:
        module.fail_json(msg=str(error), replaced=False, previous=None)
    try:
        outcome = driver.ensure(
            state=wanted["state"],
            hold=wanted["hold"],
            check=module.check_mode,
            sources_pending=wanted["sources_pending"],
        )
    except (PackageError, NotWritten) as error:
        replaced = _replaced(_driver(before), _driver(manager.installed()))
        module.fail_json(msg=str(error), replaced=replaced, previous=_version(driver.replaced()))
    replaced = _replaced(outcome.before, outcome.after) or bool(outcome.repaired)
    builds = any(matches(name, BUILDERS) for name in outcome.after)
    told = {"replaced": replaced, "previous": _version(driver.replaced()), "builds": builds}
    module.exit_json(**{**outcome.result(), **told})


if __name__ == "__main__":
    main()
