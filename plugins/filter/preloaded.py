# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: preloaded
short_description: Load this collection's filters and lookups before Ansible forks
version_added: "1.0.0"
description:
  - Returns its input as it is. What counts is where it stands, which is in a play's C(hosts).
  - Ansible forks a process for each task of each machine, which loads the filters and lookups that the task uses, with
    all that they import. A play's C(hosts) is templated before it forks, so what is loaded there is there in every
    process.
  - Without it nothing is different but the time.
positional: _input
options:
  _input:
    description: The pattern of the play's hosts.
    type: raw
    required: true
author:
  - The gpulab.workstation authors (@gpulab)
"""

EXAMPLES = r"""
- name: Look at the machines, and plan
  hosts: "{{ 'workstations' | gpulab.workstation.preloaded }}"
"""

RETURN = r"""
_value:
  description: The input.
  type: raw
  sample: workstations
"""

import pkgutil
from typing import Any, Callable

from ansible.plugins.loader import filter_loader, lookup_loader
from ansible_collections.gpulab.workstation.plugins import filter as filters
from ansible_collections.gpulab.workstation.plugins import lookup as lookups
from ansible_collections.gpulab.workstation.plugins.plugin_utils.input_problems import prepare


def preloaded(value: Any) -> Any:
    for package, loader in ((filters, filter_loader), (lookups, lookup_loader)):
        for plugin in pkgutil.iter_modules(package.__path__):
            loader.get(f"gpulab.workstation.{plugin.name}")
    prepare()
    return value


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"preloaded": preloaded}
