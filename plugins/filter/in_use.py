# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: in_use
short_description: Say who uses a machine
version_added: "1.0.0"
description:
  - Names the programs that compute on a GPU, and the people who have a session at the machine's own screen.
  - People who are logged in over the network are not named, nor what only draws on a screen.
author:
  - The gpulab.workstation authors (@gpulab)
options:
  _input:
    description: What M(gpulab.workstation.gpu_info) returned.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Leave a machine that is in use
  ansible.builtin.meta: end_host
  when: look | gpulab.workstation.in_use | length > 0
"""

RETURN = r"""
_value:
  description: A sentence for each, without its full stop.
  type: list
  elements: str
  sample: [python3 of ada computes on GPU 0]
"""

from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils import rollout


class FilterModule:
    """The door to plugin_utils/rollout.py."""

    def filters(self) -> dict[str, Any]:
        return {"in_use": rollout.in_use}
