# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: drift_text
short_description: Write as text where machines are not as planned
description:
  - Names the components of each machine that are not as planned, with the reasons. Machines that differ alike stand
    together. No line is longer than 100 columns.
author:
  - The gpulab.workstation authors (@gpulab)
options:
  _input:
    description: By host, what the filter P(gpulab.workstation.stack_drift#filter) returned.
    type: dict
    required: true
seealso:
  - plugin: gpulab.workstation.stack_drift
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Say what would change
  gpulab.workstation.show:
    text: "{{ {'desk-01': plan | gpulab.workstation.stack_drift(stack)} | gpulab.workstation.drift_text }}"
"""

RETURN = r"""
_value:
  description: The text, without a line end after its last line.
  type: str
  sample: |-
    desk-01: would change
      tensorflow      tensorflow_version is '2.20.0', planned '2.21.0'
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils import drift


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"drift_text": drift.text}
