# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: plan_text
author: The gpulab.workstation authors (@gpulab)
version_added: "1.0.0"
short_description: Write plans as text for a terminal
description:
  - One plan becomes a table of the stack with the reason for each choice, the warnings, and what was passed over.
  - Plans by host are grouped, so that machines with the same plan are shown once, after an overview.
  - No line is longer than 100 columns.
options:
  _input:
    description: A plan of P(gpulab.workstation.resolve_stack#filter), or a dictionary of such plans by host.
    type: dict
    required: true
seealso:
  - plugin: gpulab.workstation.resolve_stack
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the plan of this machine
  ansible.builtin.debug:
    msg: "{{ (gpu | gpulab.workstation.resolve_stack(stack.system) | gpulab.workstation.plan_text).splitlines() }}"
"""

RETURN = r"""
_value:
  description: The text, without a line end after its last line.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils.plan_text import plan_text


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"plan_text": plan_text}
