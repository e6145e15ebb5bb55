# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: resolve_fleet
author: The gpulab.workstation authors (@gpulab)
version_added: "1.0.0"
short_description: Choose one stack for a group of machines, or say who stands in the way
description:
  - Looks for the newest TensorFlow that every machine of the group can have from the same place, with one driver branch
    on all that have a GPU.
  - Where there is none, every host gets the plan that is its own, and C(in_the_way) names the machines that would have
    to leave the group for the stack that most of the others can share, each with the reason.
options:
  _input:
    description: By host, a dictionary with C(gpu), C(system) and C(inputs) as
      P(gpulab.workstation.resolve_stack#filter) takes them.
    type: dict
    required: true
  today:
    description: The day that decides what has reached its end of life, as V(2026-11-23); by default today.
    type: str
seealso:
  - plugin: gpulab.workstation.resolve_stack
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Look for one stack for the room
  ansible.builtin.debug:
    msg: "{{ machines | gpulab.workstation.resolve_fleet }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: What the group can share.
  type: dict
  contains:
    common:
      description: The C(tensorflow) (version, source) and C(driver_branch) of all, or V(null).
      type: dict
    plans:
      description: A plan for each host, of the common stack where there is one.
      type: dict
    in_the_way:
      description: Those that keep the others from a common stack, each with C(hosts) and C(reason).
      type: list
      elements: dict
"""

from collections.abc import Callable
from datetime import date
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils import fleet


def resolve_fleet(machines: dict[str, Any], *, today: str | None = None) -> dict[str, Any]:
    return fleet.resolve_fleet(machines, today=date.fromisoformat(today) if today else None)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"resolve_fleet": resolve_fleet}
