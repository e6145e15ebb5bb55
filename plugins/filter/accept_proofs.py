# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: accept_proofs
short_description: Add a run's proofs to the table of what GPUs are expected to reach
version_added: "1.0.0"
description:
  - Takes the throughput of each machine with GPUs whose proof passed, in place of what the table has of that machine.
  - The table is part of the inventory, where Ansible runs templates. A throughput that is no number above 0, a recipe
    that there is not, or GPUs that are called by a template are an error with the machine's name.
  - Pure; it reads no machine and writes no file.
author:
  - The gpulab.workstation authors (@gpulab)
positional: accepted
options:
  _input:
    description: The records of a run, as in its C(run.json).
    type: list
    elements: dict
    required: true
  accepted:
    description: Images per second that accepted proofs reached, by the names of the GPUs, recipe and host.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show the table with the newest run in it
  ansible.builtin.debug:
    msg: "{{ (lookup('ansible.builtin.file', 'run.json') | from_json).records | gpulab.workstation.accept_proofs }}"
"""

RETURN = r"""
_value:
  description: The table with these proofs in it.
  type: dict
  sample:
    NVIDIA GeForce RTX 4090:
      guide:
        desk-a01.lab.example: 10120.0
"""

from collections.abc import Mapping, Sequence
from typing import Any, Callable

from ansible_collections.gpulab.workstation.plugins.plugin_utils import proof


def accept_proofs(records: Sequence[Mapping[str, Any]], accepted: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return proof.accept(records, accepted or {})


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"accept_proofs": accept_proofs}
