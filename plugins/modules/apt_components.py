#!/usr/bin/python
# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: apt_components
short_description: Enable more components of the distribution's archive
version_added: "1.0.0"
description:
  - Adds the components to each place from which this machine already takes C(main), with the same mirror, suite and
    key, in a file of its own. The machine's own source files are left as they are.
  - Does nothing where the components are enabled, nor where apt is told by C(APT_CONFIG) to take its sources from
    another folder. A bundle has them, or has not.
options:
  state:
    description:
      - Whether the machine's packages may come from the components. With V(absent), those that this module added go,
        as soon as no other role uses them.
    type: str
    choices: [present, absent]
    default: present
  used_by:
    description: The role that takes packages from the components. It is written down in the file.
    type: str
    required: true
  components:
    description: The components.
    type: list
    elements: str
    default: [contrib, non-free, non-free-firmware]
attributes:
  check_mode:
    support: full
    description: Says whether components would be added.
  diff_mode:
    support: full
    description: Shows the file before and after.
author:
  - The gpulab.workstation authors (@gpulab)
"""

EXAMPLES = r"""
- name: Enable the part of Debian's archive that NVIDIA's driver is in
  gpulab.workstation.apt_components:
    used_by: nvidia_driver
"""

RETURN = r"""
path:
  description: The file with the added components; null where there is none.
  returned: success
  type: str
  sample: /etc/apt/sources.list.d/gpulab-components.sources
"""

import glob
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpulab.workstation.plugins.module_utils import _apt_sources
from ansible_collections.gpulab.workstation.plugins.module_utils._addresses import without_secrets
from ansible_collections.gpulab.workstation.plugins.module_utils._files import (
    NotWritten,
    exposed,
    read_text,
    write_text,
)
from ansible_collections.gpulab.workstation.plugins.module_utils._package_managers import quiet_runner
from ansible_collections.gpulab.workstation.plugins.module_utils._package_trouble import explain
from ansible_collections.gpulab.workstation.plugins.module_utils._used_by import used_by_line, users_then

PATH = "/etc/apt/sources.list.d/gpulab-components.sources"
WHY = "# Components that the NVIDIA driver and CUDA need, from where this machine takes the others."


def _folder(module):
    """Return the folder that apt takes its sources from."""
    _status, out, _err = quiet_runner(module)(["apt-config", "shell", "folder", "Dir::Etc::SourceParts/d"])
    return out.strip().partition("=")[2].strip("'").rstrip("/")


def _sources():
    """Return the machine's sources but for those of our own file."""
    found = []
    for path in sorted(["/etc/apt/sources.list", *glob.glob("/etc/apt/sources.list.d/*")]):
        if path != PATH and path.endswith((".list", ".sources")):
            parse = _apt_sources.parse_deb822 if path.endswith(".sources") else _apt_sources.parse_list
            found += parse(read_text(path) or "")
    return found


def _after(before, role, state, components):
    """Return the text that our file is to have; None where there is to be no file."""
    roles = users_then(before, role, state)
    lacking = _apt_sources.missing(_sources(), components) if roles else []
    return _apt_sources.compose(lacking, heading=f"{WHY}\n{used_by_line(roles)}") if lacking else None


def _mode(text):
    """Return the mode of our file: everyone can read it, unless a source of the machine has a password."""
    return 0o644 if without_secrets(text) == text else 0o600


def _use(module, before):
    """Fetch the indexes of what was added, or put the text of ``before`` back."""
    status, out, err = quiet_runner(module)(["apt-get", "update"])
    if status != 0:
        write_text(PATH, before, mode=_mode(before))
        module.fail_json(msg=f"The components cannot be used. {explain(out + err)}")


def main() -> None:
    # What is written is for all to read and for root to change, whatever mask the administrator works with.
    os.umask(0o022)
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "used_by": {"type": "str", "required": True},
            "components": {
                "type": "list",
                "elements": "str",
                "default": ["contrib", "non-free", "non-free-firmware"],
            },
        },
        supports_check_mode=True,
    )
    before = read_text(PATH)
    if module.params["state"] == "present" and _folder(module) != os.path.dirname(PATH):
        after = before
    else:
        after = _after(before, module.params["used_by"], module.params["state"], module.params["components"])
    changed = before != after or (after is not None and exposed(PATH, _mode(after)))
    if changed and not module.check_mode:
        try:
            write_text(PATH, after, mode=_mode(after))
        except NotWritten as error:
            module.fail_json(msg=str(error))
        if after:
            _use(module, before)
    module.exit_json(
        changed=changed,
        path=PATH if after else None,
        diff={"before": without_secrets(before or ""), "after": without_secrets(after or "")},
    )


if __name__ == "__main__":
    main()
