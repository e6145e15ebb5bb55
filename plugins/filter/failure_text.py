# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: failure_text
short_description: Say why a task failed, and what can be done
version_added: "1.0.0"
description:
  - Finds the cause in what a failed task answered, among the consequences, and says what can be done about it.
  - A message that names the machine by itself has said all, and stays as it is.
author:
  - The gpulab.workstation authors (@gpulab)
positional: _input, host
options:
  _input:
    description: The result of the task.
    type: dict
    required: true
  host:
    description: The machine's name in the inventory, with which the message begins, and what was to be done there.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Name the cause
  ansible.builtin.fail:
    msg: "{{ ansible_failed_result | gpulab.workstation.failure_text(inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: The message. Where the cause is not known, the last lines of what was said.
  type: str
  sample: "desk: The disk is full. Free some space and run this again; it goes on where it stopped."
"""

from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils import failure


class FilterModule:
    """The door to plugin_utils/failure.py."""

    def filters(self) -> dict[str, Any]:
        return {"failure_text": failure.text}
