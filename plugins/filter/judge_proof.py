# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: judge_proof
short_description: Judge the training job of a proof
version_added: "1.0.0"
description:
  - Turns what a training job returned into checks, each passed, failed or not checked.
  - What could not be looked at is never passed. Pure; it reads no machine.
author:
  - The gpulab.workstation authors (@gpulab)
positional: gpus
options:
  _input:
    description: What M(gpulab.workstation.gpu_job) returned for the trainer of the role cifar10.
    type: dict
    required: true
  gpus:
    description: How many CUDA GPUs TensorFlow must see and train on.
    type: int
    required: true
  min_accuracy:
    description: The least accuracy on the test images. V(0) means the floor that goes with the images.
    type: float
    default: 0
  min_images_per_s:
    description: The least throughput in images per second. V(0) means that it is reported and not judged.
    type: float
    default: 0
  min_utilization:
    description:
      - The least mean utilization of each GPU while it is kept busy by itself, in percent. V(0) means not judged.
    type: float
    default: 0
  accepted:
    description: Images per second that accepted proofs reached, by the names of the GPUs, recipe and host.
    type: dict
    default: {}
  share:
    description: The share of what is known from accepted proofs that must be reached.
    type: float
    default: 0.85
  findings:
    description: The findings of M(gpulab.workstation.gpu_info), which say why TensorFlow does not see a GPU.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Assert that nothing failed
  ansible.builtin.assert:
    that: training | gpulab.workstation.judge_proof(gpus=1) | selectattr('status', 'equalto', 'failed') | length == 0
"""

RETURN = r"""
_value:
  description: The checks, each with C(name), C(status) (V(passed), V(failed) or V(not_checked)) and C(detail).
  type: list
  elements: dict
  sample:
    - name: accuracy
      status: passed
      detail: 0.912 on 2,000 test images (ten drawn shapes, seed 1); at least 0.750 was asked.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.gpulab.workstation.plugins.plugin_utils import proof


def judge_proof(
    job: dict[str, Any],
    gpus: int,
    min_accuracy: float = 0,
    min_images_per_s: float = 0,
    min_utilization: float = 0,
    accepted: Mapping[str, Any] | None = None,
    share: float = 0.85,
    findings: Sequence[Mapping[str, str]] = (),
) -> list[dict[str, str]]:
    expected = proof.Expected(
        gpus=int(gpus),
        min_accuracy=float(min_accuracy),
        min_images_per_s=float(min_images_per_s),
        min_utilization=float(min_utilization),
        accepted=accepted or {},
        share=float(share),
        findings=findings,
    )
    return proof.judge(job, expected)


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"judge_proof": judge_proof}
