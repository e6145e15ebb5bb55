# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: stack_lock
author: The gpulab.workstation authors (@gpulab)
version_added: "1.0.0"
short_description: Write down what was resolved, so that the same stacks come out another year
description:
  - Turns plans by host into a lock. A host's entry of the lock, given to
    P(gpulab.workstation.resolve_stack#filter) as the input C(stack_lock), makes the same stack come out.
  - A locked machine goes through the same rules as any other. A lock that no longer fits its machine is refused with
    the reason.
  - A driver branch is locked, not the exact version, unless the inventory pins that too; distributions keep only the
    newest version of a branch.
  - The lock is part of the inventory. Where a machine's own words are a template to Ansible, which would run it there,
    no lock comes out but an error with the machine's name.
options:
  _input:
    description: Plans of P(gpulab.workstation.resolve_stack#filter) by host. A host that was refused is left out.
    type: dict
    required: true
  made:
    description: The day to write into the lock, as V(2026-11-23). The controller's day by default.
    type: str
  before:
    description: The lock as it was. Hosts that are not among the plans keep their entry of it.
    type: dict
seealso:
  - plugin: gpulab.workstation.resolve_stack
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Write the lock
  ansible.builtin.copy:
    content: "{{ {'gpulab_lock': plans | gpulab.workstation.stack_lock} | to_nice_yaml }}"
    dest: "{{ stack_lock }}"
    mode: "0644"
  delegate_to: localhost
  run_once: true

- name: Resolve with the lock
  ansible.builtin.set_fact:
    plan: "{{ gpu | gpulab.workstation.resolve_stack(stack.system, {'stack_lock': entry}) }}"
  vars:
    entry: "{{ gpulab_lock.hosts[inventory_hostname] }}"
"""

RETURN = r"""
_value:
  description: The lock.
  type: dict
  contains:
    schema:
      description: The version of this shape.
      type: int
      sample: 1
    made:
      description: The day it was written.
      type: str
      sample: "2026-11-23"
    hosts:
      description: By host, what the machine was (C(summary)) and what is pinned for it (C(inputs)).
      type: dict
"""

from collections.abc import Callable
from datetime import date
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils.lock import lock_of_plans


def stack_lock(
    plans: dict[str, Any], *, made: str | None = None, before: dict[str, Any] | None = None
) -> dict[str, Any]:
    return lock_of_plans(plans, made=made or date.today().isoformat(), before=before)


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"stack_lock": stack_lock}
