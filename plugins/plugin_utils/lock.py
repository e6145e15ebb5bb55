# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock: what was resolved for a fleet, written down so that the same stacks come out another year.

A host's entry in the lock is a set of pins, so a locked machine goes through the same rules as any other: a lock that
no longer fits its machine is refused with the reason, not followed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_model import PINS, STATES, Refused, is_set
from ansible_collections.gpulab.workstation.plugins.plugin_utils.templates import templates

SCHEMA = 1
# What the rules may judge otherwise another year. Which GPUs there are, and what the kernel needs, stays a question.
LOCKED_SETTINGS = ("nvidia_driver_fabric_manager", "tensorflow_constraints", "tensorflow_library_path")


def lock_of_plans(
    plans: Mapping[str, Mapping[str, Any]], *, made: str, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the lock of {host: plan}; a host without a stack has no entry, and keeps being refused.

    Hosts that are not among the plans keep their entry of the lock ``before``. An inventory reads the lock, so a plan
    with words of the machine that Ansible would run there as a template is a ValueError.
    """
    kept = {host: entry for host, entry in ((before or {}).get("hosts") or {}).items() if host not in plans}
    locked = {
        host: {"summary": plan["summary"], "inputs": pins_of_plan(plan)}
        for host, plan in plans.items()
        if plan["refusal"] is None
    }
    for host, entry in locked.items():
        for text in templates(entry):
            raise ValueError(
                f"{host}: it says of itself {text}, which Ansible would run as a template once it stood in the "
                "inventory. No lock was written. See what has put it there, and leave the machine out with "
                f"--limit 'all:!{host}'."
            )
    return {"schema": SCHEMA, "made": made, "hosts": dict(sorted({**kept, **locked}.items()))}


def pins_of_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has to be pinned for this plan to come out again: the choices, and which components there are."""
    components = plan["components"]
    decided = {name: value for inputs in components.values() for name, value in inputs.items()}
    chosen = {name: value for name, value in decided.items() if name in (*PINS, *LOCKED_SETTINGS) and is_set(value)}
    states = {name: "present" if name.removesuffix("_state") in components else "absent" for name in STATES}
    if plan["stack"]["driver"]:
        # Also where it is not ours to manage: the stack counts on it.
        states["nvidia_driver_state"] = "present"
    return {**chosen, **states}


def pins_of_lock(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the inputs with the pins of their ``stack_lock`` (one host's entry) merged in.

    A pin of the inventory that says something else than the lock is refused: one of the two is out of date.
    """
    entry = inputs.get("stack_lock")
    if not entry:
        return inputs
    pins = entry["inputs"]
    for name in (*PINS, *STATES):
        asked = inputs.get(name)
        if is_set(asked) and name in pins and not agree(str(asked), str(pins[name])):
            raise Refused(
                f"The inventory sets {name} to {asked} and the lock to {pins[name]}: drop the pin or renew the lock.",
                conflict=(f"{name}: {asked}", f"the lock's {pins[name]}"),
            )
    return {**inputs, **pins}


def agree(asked: str, locked: str) -> bool:
    """A pin may be shorter than what came of it: 2.20 and 2.20.0."""
    return locked == asked or locked.startswith(f"{asked}.")
