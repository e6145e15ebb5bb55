#!/usr/bin/python
# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: package_repair
short_description: Finish what an interrupted apt or dpkg left half done
version_added: "1.0.0"
description:
  - apt refuses all work after a run that was cut off in the middle. This configures what was unpacked, brings what that
    needs, and unpacks again what dpkg was cut off in the middle of. It removes nothing.
  - Waits for another package manager, which may be that very run, when it has lost its controller and not its life.
  - For Debian and its family.
options:
  lock_timeout:
    description: How many seconds to wait for another process that holds the package manager's lock.
    type: int
    default: 120
attributes:
  check_mode:
    support: full
    description: Says which packages are to be finished.
  diff_mode:
    support: none
    description: There is nothing to compare.
author:
  - The gpulab.workstation authors (@gpulab)
seealso:
  - module: gpulab.workstation.package_set
"""

EXAMPLES = r"""
- name: Finish what an interrupted run began
  gpulab.workstation.package_repair:
"""

RETURN = r"""
repaired:
  description: Packages that an interrupted run had left half done; C(dpkg) stands for notes of its own.
  returned: success
  type: list
  elements: str
  sample: [pciutils]
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpulab.workstation.plugins.module_utils._package_managers import (
    LOCK_TIMEOUT,
    Apt,
    quiet_runner,
)
from ansible_collections.gpulab.workstation.plugins.module_utils._packages import PackageError


def main() -> None:
    # What is written is for all to read and for root to change, whatever mask the administrator works with.
    os.umask(0o022)
    module = AnsibleModule(
        argument_spec={"lock_timeout": {"type": "int", "default": LOCK_TIMEOUT}}, supports_check_mode=True
    )
    patience = module.params["lock_timeout"]
    apt = Apt(run=quiet_runner(module, patience=patience), patience=patience)
    try:
        interrupted = apt.interrupted()
        if interrupted and not module.check_mode:
            apt.repair("--no-remove")
    except PackageError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(interrupted), repaired=interrupted)


if __name__ == "__main__":
    main()
