# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: report_data
short_description: Turn the records of a run into what its page shows
version_added: "1.0.0"
description:
  - Gives every machine its status, says what a person must do and what was not checked, groups equal plans, and
    compares machines that have the same GPUs.
  - Pure. It reads no machine and changes none.
author:
  - The gpulab.workstation authors (@gpulab)
positional: waves
options:
  _input:
    description: The records, one a machine, as C(playbooks/site.yml) collects them.
    type: list
    elements: dict
    required: true
  waves:
    description: Of a rollout, its waves, each with C(hosts) and with the times C(began) and C(ended), which is V(null)
      where it was not begun.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Name the machines that failed
  ansible.builtin.debug:
    msg: >-
      {{ (gpulab_records | gpulab.workstation.report_data).machines
         | selectattr('status', 'eq', 'failed') | map(attribute='host') }}
"""

RETURN = r"""
_value:
  description:
    - The verdict, the number of machines by status, what a person must do, what was not checked, the plans, and the
      machines, the worst first.
  type: dict
  sample:
    schema: 1
    verdict:
      level: fine
      text: desk-01 is proved.
    machines:
      - host: desk-01
        status: proved
"""

from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils import report


class FilterModule:
    """The door to plugin_utils/report.py."""

    def filters(self) -> dict[str, Any]:
        return {"report_data": report.report_data}
