# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout_settings
short_description: Complete what an inventory says of a rollout
version_added: "1.0.0"
description:
  - Adds the defaults of the settings that C(playbooks/rollout.yml) takes. What is misspelt or makes no sense is told by
    P(gpulab.workstation.input_problems#lookup).
author:
  - The gpulab.workstation authors (@gpulab)
options:
  _input:
    description: The variables whose names begin with C(rollout_).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show in which waves a rollout would go
  ansible.builtin.debug:
    msg: "{{ ({'rollout_waves': [1, '100%']} | gpulab.workstation.rollout_settings).rollout_waves }}"
"""

RETURN = r"""
_value:
  description: All settings, by name.
  type: dict
  sample:
    rollout_waves: [1, "10%", "50%", "100%"]
    rollout_failures: "10%"
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils.rollout import settings


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"rollout_settings": settings}
