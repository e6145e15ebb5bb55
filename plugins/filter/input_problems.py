# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: input_problems
short_description: Tell what is wrong with the role inputs of an inventory
version_added: "1.0.0"
description:
  - Checks every variable that carries the prefix of one of this collection's roles against that role's argument spec,
    so that a misspelt name or a wrong value is seen before the first role starts.
author:
  - The gpulab.workstation authors (@gpulab)
positional: plan
options:
  _input:
    description: The role inputs that the inventory sets, by name.
    type: dict
    required: true
  plan:
    description:
      - The plan, as the filter P(gpulab.workstation.resolve_stack#filter) returned it. Where it is given, the inputs
        are those that roles are about to get, and the problem is one that says something else than the plan.
    type: dict
"""

EXAMPLES = r"""
- name: Check the inputs
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('\n') }}"
  vars:
    problems: "{{ {'tensorflow_verison': '2.20.0'} | gpulab.workstation.input_problems }}"
"""

RETURN = r"""
_value:
  description: A sentence for each problem.
  type: list
  elements: str
  sample:
    - tensorflow_verison is not an input of the role tensorflow; did you mean tensorflow_version?
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils import input_problems as problems_of


def input_problems(inputs: Mapping[str, Any], plan: Mapping[str, Any] | None = None) -> list[str]:
    return problems_of.overruled(inputs, plan) if plan else problems_of.problems(inputs)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"input_problems": input_problems}
