# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: stack_drift
short_description: Compare a plan with a machine, component by component
version_added: "1.0.0"
description:
  - Says which components of a plan the machine does not have as planned, and why.
  - Pure. It reads no machine and changes none.
author:
  - The gpulab.workstation authors (@gpulab)
positional: stack, inputs, gpu, audit
options:
  _input:
    description: The plan, as the filter P(gpulab.workstation.resolve_stack#filter) returned it.
    type: dict
    required: true
  stack:
    description: What M(gpulab.workstation.stack_info) returned for the machine.
    type: dict
    required: true
  inputs:
    description: The role inputs that the inventory sets for the machine, by name.
    type: dict
    default: {}
  gpu:
    description:
      - What M(gpulab.workstation.gpu_info) returned for the machine. Without it, a driver that is installed as planned
        and does not serve goes unseen, and so does a proof that was made with other GPUs.
    type: dict
  audit:
    description:
      - Whether to count also what no role puts right, such as a newer kernel that has no module of the driver, and
        a source of NVIDIA's packages that is none of this collection's.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Name what would change
  ansible.builtin.debug:
    msg: "{{ plan | gpulab.workstation.stack_drift(stack) | selectattr('drifted') | map(attribute='component') }}"
"""

RETURN = r"""
_value:
  description: The plan's components in their order, each with C(drifted) and the C(reasons), a sentence each.
  type: list
  elements: dict
  sample:
    - component: tensorflow
      drifted: true
      reasons:
        - tensorflow_version is '2.20.0', planned '2.21.0'
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpulab.workstation.plugins.plugin_utils import drift


def stack_drift(
    plan: Mapping[str, Any],
    stack: Mapping[str, Any],
    inputs: Mapping[str, Any] | None = None,
    gpu: Mapping[str, Any] | None = None,
    audit: bool = False,
) -> list[dict[str, Any]]:
    if plan.get("refusal"):
        raise AnsibleFilterError(f"stack_drift: there is no plan to compare with: {plan['refusal']['message']}")
    return drift.compare(plan, stack, inputs or {}, gpu, audit=audit)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"stack_drift": stack_drift}
