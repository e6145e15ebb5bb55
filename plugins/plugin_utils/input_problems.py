# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the role inputs that an inventory or a command line sets.

A role checks its own inputs when it starts. That is too late for a run of seven roles: the first six have changed the
machine by then. So the playbooks check the inputs of all roles before anything else, with Ansible's own validator.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.gpulab.workstation.plugins.plugin_utils import role_inputs
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_model import PINS, SETTINGS

# What an inventory may say of an input that the plan decides.
AUTO = "auto"
DECIDED_BY_PLAN = (*PINS, *SETTINGS)


def problems(inputs: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with role inputs, a sentence each: the variable, its value, and what is allowed."""
    found = []
    for name, value in inputs.items():
        role = role_inputs.role_of(name)
        if role:
            option = role_inputs.spec(role).get(name)
            found += _invalid(name, value, option) if option else [_unknown(name, role)]
    return found


def overruled(inputs: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    """Return which of the inputs that the roles are about to get say something else than the plan, a sentence each.

    Only the command line outranks what the playbooks hand to the roles.
    """
    decided = {name: value for inputs in plan["components"].values() for name, value in inputs.items()}
    return [
        f"The command line (-e) sets {name} to {value} and outranks the plan, which chose {decided[name]}: "
        f"{_way_out(name, value, decided[name])}"
        for name, value in inputs.items()
        if str(value).lower() != str(decided[name]).lower()
    ]


def _way_out(name: str, value: Any, decided: Any) -> str:
    if value == AUTO:
        return f"leave it out there, which means the same, or say {name}={decided}."
    return f"say {name}={decided} there, or set it in the inventory."


def _unknown(name: str, role: str) -> str:
    near = difflib.get_close_matches(name, role_inputs.spec(role), n=1)
    hint = f"did you mean {near[0]}?" if near else f"`ansible-doc -t role gpulab.workstation.{role}` lists its inputs."
    return f"{name} is not an input of the role {role}; {hint}"


def _invalid(name: str, value: Any, option: Mapping[str, Any]) -> list[str]:
    if value == AUTO and AUTO not in option.get("choices", ()):
        return (
            [] if name in DECIDED_BY_PLAN else [f"{name} is auto; the plan does not decide it: leave it out instead."]
        )
    # Ansible turns a list or a number into text without a word; an input that means text is to be text.
    if option["type"] in ("str", "path") and isinstance(value, (list, dict)):
        return [f"{name} is a {type(value).__name__}; it must be text ({option['type']})."]
    outcome = ArgumentSpecValidator({name: dict(option)}).validate({name: value})
    return [f"{name}: {value!r} is refused: {message}" for message in outcome.error_messages]
