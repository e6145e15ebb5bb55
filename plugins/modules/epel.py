#!/usr/bin/python
# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: epel
short_description: Enable EPEL on a machine of RHEL's family, for what it alone has
version_added: "1.0.0"
description:
  - Does nothing where the packages are installed, or are offered by the repositories that the machine has, a lab's own
    among them.
  - Otherwise installs the release package by which the distribution itself offers EPEL, and enables the repository
    that EPEL builds on (CRB, CodeReady Builder) where the machine knows it. The release package is signed by the
    distribution, and brings EPEL's key.
  - EPEL that cannot be reached, or has not what is needed, is taken away again.
options:
  packages:
    description: What is needed. The default is what NVIDIA's kernel modules are built with.
    type: list
    elements: str
    default: [dkms]
attributes:
  check_mode:
    support: full
    description: Says whether EPEL would be enabled, and fails where that cannot be.
author:
  - The gpulab.workstation authors (@gpulab)
seealso:
  - module: gpulab.workstation.driver_packages
"""

EXAMPLES = r"""
- name: Have what NVIDIA's kernel modules are built with
  gpulab.workstation.epel:
"""

RETURN = r"""
release:
  description: The release package that was, or would be, installed; null where nothing is needed.
  returned: success
  type: str
  sample: epel-release
enabled:
  description: The repository of the distribution's that was, or would be, enabled with it; null where there is none.
  returned: success
  type: str
  sample: crb
"""

import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpulab.workstation.plugins.module_utils._package_managers import quiet_runner
from ansible_collections.gpulab.workstation.plugins.module_utils._package_trouble import explain
from ansible_collections.gpulab.workstation.plugins.module_utils._packages import PackageError

# Rocky, Alma and CentOS Stream; Oracle.
RELEASES = ("epel-release", "oracle-epel-release-el9", "oracle-epel-release-el10")
BUILDS_ON = re.compile(r"^(crb|codeready-builder-for-rhel-\d+-\w+-rpms|ol\d+_codeready_builder)\s", re.MULTILINE)
WAY_OUT = (
    "Enable EPEL on this machine (on RHEL itself with CodeReady Builder, as EPEL's own pages say), or a repository of"
    " yours that has the same."
)


class Machine:
    """dnf and rpm on this machine."""

    def __init__(self, run):
        self._run = run

    def dnf(self, *words):
        """Run dnf, and return what it prints.

        Raises:
            PackageError: It failed.
        """
        status, out, err = self._run(["dnf", "-y", "--quiet", "--setopt=exit_on_lock=1", *words])
        if status != 0:
            raise PackageError(explain(out + err))
        return out

    def has(self, package):
        return self._run(["rpm", "--query", "--whatprovides", package])[0] == 0

    def offers(self, packages):
        """Return those of ``packages`` that the enabled repositories have."""
        listed = self.dnf("repoquery", "--available", "--qf", "%{name}\n", *packages).split()
        return [package for package in packages if package in listed]

    def lacking(self, packages):
        """Return those of ``packages`` that are neither here nor to be had."""
        absent = [package for package in packages if not self.has(package)]
        offered = self.offers(absent) if absent else []
        return [package for package in absent if package not in offered]

    def builds_on(self):
        """Return the repository that EPEL builds on, where it is known and not enabled."""
        disabled = BUILDS_ON.search(self.dnf("repolist", "--disabled"))
        return disabled.group(1) if disabled else None

    def enable(self, release, builds_on):
        """Enable both, EPEL last: where it is there, nothing more is done."""
        if builds_on:
            self.dnf("install", "dnf-command(config-manager)")
            self.dnf("config-manager", "--set-enabled", builds_on)
        self.dnf("install", release)

    def disable(self, release, builds_on):
        """Disable both again, as far as that goes on a machine on which something has just failed."""
        dnf = ["dnf", "-y", "--quiet", "--disablerepo=*"]
        self._run([*dnf, "remove", release])
        if builds_on:
            self._run([*dnf, "config-manager", "--set-disabled", builds_on])


def choose_release(machine, lacking):
    """Return the release package to install.

    Raises:
        PackageError: EPEL is there, but cannot be used; or the distribution does not offer it.
    """
    needed = f"No repository of this machine's has {', '.join(lacking)}, which is needed."
    there = [release for release in RELEASES if machine.has(release)]
    if there:
        raise PackageError(f"{needed} {there[0]} is installed, so its repository is disabled. {WAY_OUT}")
    offered = machine.offers(RELEASES)
    if not offered:
        raise PackageError(f"{needed} EPEL has it, and the distribution offers no release package of EPEL. {WAY_OUT}")
    return offered[0]


def use(machine, release, builds_on, lacking):
    """Enable EPEL for what is lacking, or leave the machine as it was.

    Raises:
        PackageError: EPEL cannot be used, or does not have it.
    """
    try:
        machine.enable(release, builds_on)
        lacking = machine.lacking(lacking)
        if lacking:
            raise PackageError(f"EPEL does not have {', '.join(lacking)}. {WAY_OUT}")
    except PackageError as error:
        machine.disable(release, builds_on)
        raise PackageError(f"EPEL was enabled, and disabled again. {error}") from error


def main() -> None:
    # What is written is for all to read and for root to change, whatever mask the administrator works with.
    os.umask(0o022)
    module = AnsibleModule(
        argument_spec={"packages": {"type": "list", "elements": "str", "default": ["dkms"]}},
        supports_check_mode=True,
    )
    machine = Machine(quiet_runner(module))
    release = builds_on = None
    try:
        lacking = machine.lacking(module.params["packages"])
        if lacking:
            release, builds_on = choose_release(machine, lacking), machine.builds_on()
            if not module.check_mode:
                use(machine, release, builds_on, lacking)
    except PackageError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=release is not None, release=release, enabled=builds_on)


if __name__ == "__main__":
    main()
