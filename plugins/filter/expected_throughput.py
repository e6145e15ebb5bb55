# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: expected_throughput
short_description: Say what throughput accepted proofs make one expect of a training
version_added: "1.0.0"
description:
  - Looks a training's GPUs and recipe up in the table of accepted proofs. Pure; it reads no machine.
author:
  - The gpulab.workstation authors (@gpulab)
positional: accepted
options:
  _input:
    description: The result that the trainer of the role cifar10 left, or null.
    type: dict
    required: true
  accepted:
    description: Images per second that accepted proofs reached, by the names of the GPUs, recipe and host.
    type: dict
    required: true
  share:
    description: The share of it that must be reached.
    type: float
    default: 0.85
"""

EXAMPLES = r"""
- name: Show what is expected
  ansible.builtin.debug:
    msg: "{{ training.result | gpulab.workstation.expected_throughput(cifar10_accepted) }}"
"""

RETURN = r"""
_value:
  description: What is expected, null where no proof with these GPUs and this recipe was accepted.
  type: dict
  sample:
    images_per_s: 10120.0
    floor: 0.85
    source: median of 3 accepted proofs with NVIDIA GeForce RTX 4090
"""

from collections.abc import Mapping
from typing import Any, Callable

from ansible_collections.gpulab.workstation.plugins.plugin_utils import proof


def expected_throughput(
    result: Mapping[str, Any] | None, accepted: Mapping[str, Any], share: float = 0.85
) -> dict[str, Any] | None:
    return proof.expectation(result, proof.Expected(gpus=0, accepted=accepted, share=float(share)))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"expected_throughput": expected_throughput}
