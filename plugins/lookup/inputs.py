# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: inputs
short_description: Return the inputs of roles as a mapping
version_added: "1.0.0"
description:
  - Returns every variable that carries one of the prefixes, with its value. For a role that is what the inventory and
    the command line set, completed by the role's defaults where the role runs.
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
- name: Write the receipt
  gpulab.workstation.receipt:
    component: cifar10
    inputs: "{{ lookup('gpulab.workstation.inputs', 'cifar10') }}"
"""

RETURN = r"""
_raw:
  description: One mapping from a variable's name to its value.
  type: list
  elements: dict
  sample:
    - cifar10_epochs: 10
      cifar10_recipe: guide
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    def run(self, terms: Sequence[str], variables: Mapping[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        prefixes = tuple(f"{prefix}_" for prefix in terms)
        given = {name: value for name, value in (variables or {}).items() if name.startswith(prefixes)}
        return [{name: self._templar.template(given[name]) for name in sorted(given)}]
