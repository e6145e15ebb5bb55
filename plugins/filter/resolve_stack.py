# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: resolve_stack
author: The gpulab.workstation authors (@gpulab)
version_added: "1.0.0"
short_description: Choose the driver, CUDA, Python and TensorFlow that fit a machine
description:
  - Takes what a machine is and what its inventory asks for, and returns the one stack that fits,
    with a reason for each choice.
  - Where nothing fits, the plan is a refusal that names what cannot go together and the nearest stacks that would work,
    each of which was resolved before it was offered.
  - Runs on the controller, reads no machine and no network.
    The facts it decides by lie in C(plugins/plugin_utils/compat).
positional: _input, system, inputs
options:
  _input:
    description: What M(gpulab.workstation.gpu_info) returned.
    type: dict
    required: true
  system:
    description: The RV(gpulab.workstation.stack_info#module:system) that M(gpulab.workstation.stack_info) returned.
    type: dict
    required: true
  inputs:
    description:
      - The role inputs that the inventory sets, such as C({'tensorflow_version'':' '2.20.0'}).
      - What is absent, empty or V(auto) is chosen. A version may be shortened, V(2.20) takes the newest V(2.20.x).
      - C(stack_lock) may hold this host's entry of a lock written by P(gpulab.workstation.stack_lock#filter).
    type: dict
    default: {}
  today:
    description: The day that decides what has reached its end of life, as V(2026-11-23); by default today.
    type: str
seealso:
  - plugin: gpulab.workstation.resolve_fleet
    plugin_type: filter
  - plugin: gpulab.workstation.plan_text
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Look at the hardware
  gpulab.workstation.gpu_info:
  register: gpu

- name: Look at the system
  gpulab.workstation.stack_info:
  register: stack

- name: Show what fits
  ansible.builtin.debug:
    msg: "{{ gpu | gpulab.workstation.resolve_stack(stack.system) }}"

- name: Ask for one release of TensorFlow and let the rest follow
  ansible.builtin.debug:
    msg: "{{ gpu | gpulab.workstation.resolve_stack(stack.system, {'tensorflow_version': '2.19'}) }}"
"""

RETURN = r"""
_value:
  description: The plan.
  type: dict
  contains:
    schema:
      description: The version of this shape.
      type: int
      sample: 1
    summary:
      description: What the machine is.
      type: str
      sample: Ubuntu 24.04, x86_64, 2 × GeForce RTX 4090
    refusal:
      description: V(null), or what cannot go together and what would work.
      type: dict
      contains:
        message:
          description: What is wrong, in one or two sentences.
          type: str
        conflict:
          description: The things that cannot go together.
          type: list
          elements: str
        nearest:
          description: Up to three ways out, each with an O(inputs) that resolves.
          type: list
          elements: dict
    stack:
      description: The versions chosen, by component; V(null) with a refusal.
      type: dict
    components:
      description: The inputs of each role this machine should have, in the order in which the roles run.
      type: dict
    reasons:
      description: One sentence for each choice.
      type: list
      elements: dict
    warnings:
      description: What to know of, such as an end of life, each with a code.
      type: list
      elements: dict
    rejected:
      description: What was considered and passed over, with the reason.
      type: list
      elements: dict
"""

from collections.abc import Callable
from datetime import date
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver import resolve


def resolve_stack(
    gpu: dict[str, Any], system: dict[str, Any], inputs: dict[str, Any] | None = None, *, today: str | None = None
) -> dict[str, Any]:
    return resolve(gpu=gpu, system=system, inputs=inputs or {}, today=date.fromisoformat(today) if today else None)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"resolve_stack": resolve_stack}
