# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: stack_fingerprint
short_description: Name what a proof is a proof of
version_added: "1.0.0"
description:
  - Puts together the GPUs, the running driver and what the components that a proof proves have left on the machine. As
    long as they are the same a proof holds. Pure; it reads no machine.
author:
  - The gpulab.workstation authors (@gpulab)
positional: stack
options:
  _input:
    description: What M(gpulab.workstation.gpu_info) returned for the machine.
    type: dict
    required: true
  stack:
    description: What M(gpulab.workstation.stack_info) returned for the machine.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what is proved
  ansible.builtin.debug:
    msg: "{{ gpus | gpulab.workstation.stack_fingerprint(stack) }}"
"""

RETURN = r"""
_value:
  description: The GPUs by UUID and slot, the running driver, and each component's version and what it left as a digest.
  type: dict
  sample:
    gpus: ["GPU-6d3ad9c5-1d47-0f5e-9f4e-000000000001 at 0000:01:00.0"]
    running_driver: 580.95.05
    tensorflow: 2.21.0 (5f1c9a02)
"""

from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.gpulab.workstation.plugins.plugin_utils import drift


def stack_fingerprint(gpu: Mapping[str, Any], stack: Mapping[str, Any]) -> dict[str, Any]:
    return drift.fingerprint(gpu, stack)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"stack_fingerprint": stack_fingerprint}
