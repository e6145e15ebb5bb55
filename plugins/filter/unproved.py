# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: unproved
short_description: Say what is to be put back after a proof that failed
version_added: "1.0.0"
description:
  - Names the driver and the TensorFlow environment where they have changed since the run began, or since a proof passed
    last. A proof that passed, or that was not made, puts nothing back.
  - Pure. It reads no machine and changes none.
author:
  - The gpulab.workstation authors (@gpulab)
positional: stack, before
options:
  _input:
    description: What M(gpulab.workstation.gpu_info) returned for the machine after the proof.
    type: dict
    required: true
  stack:
    description: What M(gpulab.workstation.stack_info) returned then.
    type: dict
    required: true
  before:
    description: What both returned before the run, as C(gpu) and C(stack).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Put back what did not pass
  ansible.builtin.include_role:
    name: "gpulab.workstation.{{ component }}"
    tasks_from: rollback
  loop: "{{ gpus | gpulab.workstation.unproved(stack, before) }}"
  loop_control:
    loop_var: component
"""

RETURN = r"""
_value:
  description: The components, in the order in which they are to be put back.
  type: list
  elements: str
  sample: [tensorflow, nvidia_driver]
"""

from typing import Any, Callable

from ansible_collections.gpulab.workstation.plugins.plugin_utils import drift


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"unproved": drift.unproved}
