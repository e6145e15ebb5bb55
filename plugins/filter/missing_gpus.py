# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: missing_gpus
short_description: Say which GPUs a machine should have and has not
version_added: "1.0.0"
description:
  - Holds what is on the machine's bus and computes against what the inventory states and what the last proof was made
    with. A GPU that is gone would otherwise lower the plan, and a proof of those that are left would pass.
  - Pure. It reads no machine and changes none.
author:
  - The gpulab.workstation authors (@gpulab)
positional: stack, inputs, gpu
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
    required: true
  gpu:
    description: What M(gpulab.workstation.gpu_info) returned for the machine.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Assert that every GPU is there
  ansible.builtin.assert:
    that: plan | gpulab.workstation.missing_gpus(stack, inputs, gpu) | length == 0
"""

RETURN = r"""
_value:
  description: A sentence for each reason, with the GPU's place on the bus where known; empty when none is missing.
  type: list
  elements: str
  sample:
    - NVIDIA RTX A6000 at 0000:41:00.0 has fallen off the bus. Power the machine off and on.
"""

from typing import Any, Callable

from ansible_collections.gpulab.workstation.plugins.plugin_utils.missing import missing_gpus


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"missing_gpus": missing_gpus}
