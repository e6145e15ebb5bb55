# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: rollout_stop
short_description: Say why a rollout may not go on
version_added: "1.0.0"
description:
  - Judges how the waves so far have ended. The first one is the canary, which tolerates no failure and has to prove
    something; after it, no more machines may fail than C(rollout_failures) allows.
author:
  - The gpulab.workstation authors (@gpulab)
positional: settings
options:
  _input:
    description: The records of the machines whose turn has been, as P(gpulab.workstation.run_record#filter) makes them.
    type: list
    elements: dict
    required: true
  settings:
    description: What P(gpulab.workstation.rollout_settings#filter) returned.
    type: dict
    required: true
  due:
    description: How many machines the whole rollout was to change.
    type: int
    required: true
  first:
    description: Whether that was the first wave.
    type: bool
    required: true
  check_mode:
    description: Whether the run is in check mode, so that nothing can be proved.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Judge the wave
  ansible.builtin.set_fact:
    stopped: "{{ records | gpulab.workstation.rollout_stop(settings, due=40, first=true) }}"
"""

RETURN = r"""
_value:
  description: The reason, empty where the next wave may begin.
  type: str
  sample: The first wave tolerates no failure, and desk-a01 failed.
"""

from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils import rollout


class FilterModule:
    """The door to plugin_utils/rollout.py."""

    def filters(self) -> dict[str, Any]:
        return {"rollout_stop": rollout.stop}
