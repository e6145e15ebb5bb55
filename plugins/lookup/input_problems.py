# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: input_problems
short_description: Tell what is wrong with the inputs that an inventory sets
version_added: "1.0.0"
description:
  - Checks every variable that carries one of the prefixes, before the first role starts. A role's are checked against
    its argument spec, so that a misspelt name or a wrong value is seen; those of the playbooks (C(gpulab_)) and of a
    rollout (C(rollout_)) against their own rules.
  - A value that Ansible cannot work out, because it names an undefined variable or a secret that cannot be decrypted,
    is a problem of the variable that has it.
author:
  - The gpulab.workstation authors (@gpulab)
options:
  _terms:
    description: The prefixes, without the underscore that follows them.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Check the inputs
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join(' ') }}"
  vars:
    problems: "{{ query('gpulab.workstation.input_problems', 'tensorflow', 'cifar10') }}"
"""

RETURN = r"""
_raw:
  description: A sentence for each problem.
  type: list
  elements: str
  sample:
    - tensorflow_verison is not an input of the role tensorflow; did you mean tensorflow_version?
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible_collections.gpulab.workstation.plugins.plugin_utils.input_problems import is_input, problems, unresolved


class LookupModule(LookupBase):
    def run(self, terms: Sequence[str], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[str]:
        given: dict[str, Any] = {}
        found = []
        for name, value in sorted((variables or {}).items()):
            if not name.startswith(tuple(f"{prefix}_" for prefix in terms)):
                continue
            try:
                # Of another name it is only told that nobody reads it.
                given[name] = self._templar.template(value) if is_input(name) else None
            except AnsibleError as error:
                found.append(unresolved(name, value, str(error)))
        return found + problems(given)
