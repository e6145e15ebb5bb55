#!/usr/bin/python
# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: driver_modules
short_description: See that the driver's kernel modules are there for a kernel, and build them if not
version_added: "1.0.0"
description:
  - Looks for the module in the kernel's own list of modules, where C(modprobe) would find it at the next boot. Packages
    that are installed say nothing about that.
  - Has DKMS build the modules that are missing, and fails with the compiler's words when they do not compile.
options:
  kernel:
    description: Release of the kernel; the running one when empty.
    type: str
    default: ""
  version:
    description:
      - Version of the driver. Modules of another one do not serve it; those that a file does not tell of do.
      - Any when empty.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Says whether the modules would be built.
  diff_mode:
    support: none
    description: There is nothing to compare.
author:
  - The gpulab.workstation authors (@gpulab)
"""

EXAMPLES = r"""
- name: See that the driver is there for the running kernel
  gpulab.workstation.driver_modules:
    version: 580.95.05
"""

RETURN = r"""
kernel:
  description: Release of the kernel that was looked at.
  returned: success
  type: str
  sample: 6.1.0-56-amd64
module:
  description: Path of the module; null in check mode where it is not built yet.
  returned: success
  type: str
  sample: /lib/modules/6.1.0-56-amd64/updates/dkms/nvidia-current.ko
version:
  description: The module's version, where its file tells.
  returned: success
  type: str
  sample: 535.261.03
signed:
  description: Whether the module carries a signature, where its file tells.
  returned: success
  type: bool
  sample: false
"""

import glob
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpulab.workstation.plugins.module_utils._driver_module import find_module
from ansible_collections.gpulab.workstation.plugins.module_utils._package_managers import quiet_runner
from ansible_collections.gpulab.workstation.plugins.module_utils._package_trouble import explain
from ansible_collections.gpulab.workstation.plugins.module_utils._tree import Tree

# How many lines of a failed build are worth showing: the first errors are the ones that matter.
BUILD_ERRORS = 8


def _build_errors():
    """Return the compiler's errors from the newest log of a DKMS build."""
    logs = sorted(glob.glob("/var/lib/dkms/nvidia*/*/build/make.log"), key=os.path.getmtime)
    if not logs:
        return ""
    with open(logs[-1], encoding="utf-8", errors="replace") as file:
        errors = [line.rstrip() for line in file if "error" in line.lower()]
    return "\n".join([f"{logs[-1]} says:", *errors[:BUILD_ERRORS]])


def _serves(found, version):
    return found is not None and version in ("", found.version or version)


def _trouble(found, kernel, version, said):
    if found is None:
        return (
            f"There is no NVIDIA module for kernel {kernel}, and none could be built."
            f" {explain(said)}\n{_build_errors()}".rstrip()
        )
    return (
        f"Kernel {kernel} would load {found.path}, which is of driver {found.version} and not of {version}."
        " Take away what has put it there, such as NVIDIA's .run installer or another package, and run this again."
    )


def main() -> None:
    # What is written is for all to read and for root to change, whatever mask the administrator works with.
    os.umask(0o022)
    module = AnsibleModule(
        argument_spec={"kernel": {"type": "str", "default": ""}, "version": {"type": "str", "default": ""}},
        supports_check_mode=True,
    )
    kernel, version = module.params["kernel"] or os.uname().release, module.params["version"]
    tree = Tree("/")
    found = find_module(tree, kernel)
    missing = not _serves(found, version)
    if missing and not module.check_mode:
        run = quiet_runner(module)
        out, err = "", ""
        if module.get_bin_path("dkms"):
            # It also has depmod list what it built.
            _rc, out, err = run(["dkms", "autoinstall", "-k", kernel])
            found = find_module(tree, kernel)
        if not _serves(found, version):
            module.fail_json(msg=_trouble(found, kernel, version, said=out + err))
    module.exit_json(
        changed=missing,
        kernel=kernel,
        module=found.path if found else None,
        version=found.version if found else None,
        signed=found.signed if found else None,
    )


if __name__ == "__main__":
    main()
