# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: report_table
short_description: Say in a short table how a run ended
version_added: "1.0.0"
description:
  - One machine becomes a table of label and value, several become one row a machine, the worst first. What was not
    checked, and what a person must do, follow.
  - No line is longer than 100 columns, but for a single word that is. Control characters are replaced.
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
- name: Show how the run ended
  gpulab.workstation.show:
    text: "{{ gpulab_records | gpulab.workstation.report_table }}"
  run_once: true
"""

RETURN = r"""
_value:
  description: The table.
  type: str
  sample: |
    machine       desk-01: Debian GNU/Linux 12 (bookworm), x86_64, 2 cores, 24 GiB, no NVIDIA GPU
    result        desk-01 is proved.
"""

from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils import report_text


class FilterModule:
    """The door to plugin_utils/report_text.py."""

    def filters(self) -> dict[str, Any]:
        return {"report_table": report_text.report_table}
