# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: window_closed
short_description: Say why it is not the time for maintenance
version_added: "1.0.0"
description:
  - Compares a time with maintenance windows such as V(22:00-06:00) or V(Sat-Sun 00:00-24:00). A night belongs to the
    day on which it began.
author:
  - The gpulab.workstation authors (@gpulab)
positional: now
options:
  _input:
    description: The windows; none means always.
    type: list
    elements: str
    required: true
  now:
    description: The time, as C(now()) gives it.
    type: raw
    required: true
"""

EXAMPLES = r"""
- name: End here outside of the window
  ansible.builtin.meta: end_play
  when: windows | gpulab.workstation.window_closed(now()) | length > 0
  vars:
    windows: ["22:00-06:00"]
"""

RETURN = r"""
_value:
  description: The reason, empty where it is time.
  type: str
  sample: The maintenance window is 22:00-06:00, and it is Mon 12:30.
"""

from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils import rollout


class FilterModule:
    """The door to plugin_utils/rollout.py."""

    def filters(self) -> dict[str, Any]:
        return {"window_closed": rollout.closed}
