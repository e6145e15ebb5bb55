# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout_waves
short_description: Put machines into the waves of a rollout
version_added: "1.0.0"
description:
  - Takes the sizes of C(rollout_waves) one after the other, the last of them until no machine is left, as Ansible's
    C(serial) does.
  - The machines that C(rollout_canary) names come first, those that are in use come last.
author:
  - The gpulab.workstation authors (@gpulab)
positional: settings
options:
  _input:
    description: By host, what M(gpulab.workstation.gpu_info) returned.
    type: dict
    required: true
  settings:
    description: What P(gpulab.workstation.rollout_settings#filter) returned.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the waves
  ansible.builtin.debug:
    msg: "{{ machines | gpulab.workstation.rollout_waves({} | gpulab.workstation.rollout_settings) }}"
"""

RETURN = r"""
_value:
  description: The names of the hosts, wave by wave.
  type: list
  elements: list
  sample: [[desk-a01], [desk-a02, desk-a03]]
"""

from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils import rollout


class FilterModule:
    """The door to plugin_utils/rollout.py."""

    def filters(self) -> dict[str, Any]:
        return {"rollout_waves": rollout.waves}
