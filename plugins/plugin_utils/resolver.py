# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a machine is and what its inventory asks for to the one stack that fits: a pure function.

resolver_model    what is reasoned about        resolver_search   candidates, best first
resolver_rules    what cannot go together       resolver_plan     the stack as role inputs, reasons, warnings
compat            the data                      resolver_nearest  what would work, where nothing does
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils import compatibility as data
from ansible_collections.gpulab.workstation.plugins.plugin_utils.lock import pins_of_lock
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_model import (
    Refused,
    read_machine,
    read_request,
)
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_nearest import nearest_stacks
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_plan import describe, plan_of, refused_plan
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_search import search


def resolve(
    *, gpu: Mapping[str, Any], system: Mapping[str, Any], inputs: Mapping[str, Any], today: date | None = None
) -> dict[str, Any]:
    """Return the plan of one machine, or a plan whose ``refusal`` says what stands in the way and what would work.

    ``gpu`` is what gpu_info returns, ``system`` the key of that name from stack_info, ``inputs`` the role inputs that
    the inventory sets. ``today`` decides what has reached its end of life.
    """
    compat = data.load()
    day = today or date.today()
    summary = describe(gpu=gpu, system=system, compat=compat)

    def attempt(gpu: Mapping[str, Any], system: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
        machine = read_machine(gpu=gpu, system=system, compat=compat)
        request = read_request(pins_of_lock(inputs))
        stack = search(machine, request, compat=compat, today=day)
        return plan_of(machine, request, stack, summary=summary, compat=compat, today=day)

    try:
        return attempt(gpu, system, inputs)
    except Refused as refused:
        nearest = nearest_stacks(gpu=gpu, system=system, inputs=inputs, resolve=attempt, compat=compat)
        return refused_plan(refused, summary=summary, nearest=nearest)
