# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: run_record
short_description: Put together what a run knows of one machine
version_added: "1.0.0"
description:
  - Makes the record of one machine that the filters P(gpulab.workstation.report_data#filter) and
    P(gpulab.workstation.report_table#filter) take, from the variables that C(playbooks/site.yml) keeps of it.
author:
  - The gpulab.workstation authors (@gpulab)
options:
  _input:
    description: The machine's variables.
    type: dict
    required: true
  check_mode:
    description: Whether the run was in check mode, so that nothing converged.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Collect the record of one machine
  ansible.builtin.set_fact:
    record: "{{ hostvars['desk-01'] | gpulab.workstation.run_record }}"
"""

RETURN = r"""
_value:
  description: The record.
  type: dict
  sample:
    host: desk-01
    converged: [tensorflow, cifar10]
    failed: null
    timings: {look: 1.2, plan: 0.1, converge: 95.4, prove: 71.0}
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils import run_record


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"run_record": run_record.run_record}
