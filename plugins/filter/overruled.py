# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: overruled
short_description: Say which inputs the command line sets against the plan
version_added: "1.0.0"
description:
  - Compares the inputs that roles are about to get with those that the plan chose for them. Only the command line
    (C(-e)) outranks what the playbooks hand to the roles.
author:
  - The gpulab.workstation authors (@gpulab)
positional: plan
options:
  _input:
    description: The inputs as roles would get them, by name.
    type: dict
    required: true
  plan:
    description: The plan, as the filter P(gpulab.workstation.resolve_stack#filter) returned it.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Check that the plan reaches the roles
  ansible.builtin.assert:
    that: "{'tensorflow_version': tensorflow_version} | gpulab.workstation.overruled(plan) | length == 0"
"""

RETURN = r"""
_value:
  description: A sentence for each input that says something else than the plan.
  type: list
  elements: str
  sample:
    - >-
      The command line (-e) sets tensorflow_version to 2.20.0 and outranks the plan, which chose 2.21.0: say
      tensorflow_version=2.21.0 there, or set it in the inventory.
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils.input_problems import overruled


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"overruled": overruled}
