# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the inputs of roles and playbooks that an inventory or a command line sets.

A role checks its own inputs when it starts. That is too late for a run of seven roles: the first six have changed the
machine by then. So the playbooks check the inputs of all roles before anything else, with Ansible's own validator.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.gpulab.workstation.plugins.module_utils._addresses import without_secrets
from ansible_collections.gpulab.workstation.plugins.plugin_utils import role_inputs, rollout
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_model import PINS, SETTINGS

# What an inventory may say of an input that the plan decides.
AUTO = "auto"
DECIDED_BY_PLAN = (*PINS, *SETTINGS)

# What YAML and the command line may write for an input of each type.
_KINDS: Mapping[str, Any] = {
    "boolean": bool,
    "number": (int, float),
    "text": str,
    "list": (list, tuple),
    "mapping": Mapping,
}
_TAKEN = {
    "str": ("text", "number"),
    "path": ("text",),
    "int": ("number", "text"),
    "float": ("number", "text"),
    "bool": ("boolean", "number", "text"),
    "list": ("list", "text"),
    "dict": ("mapping", "text"),
}
_MEANT = {
    "str": "text",
    "path": "text",
    "int": "a number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a mapping",
}
_SHOWN = 120
PLAYBOOKS_DIR = Path(__file__).parents[2] / "playbooks"


@lru_cache(maxsize=None)
def rules() -> Mapping[str, Any]:
    """Return the forms of texts and the ranges of numbers, by input."""
    return yaml.safe_load(Path(__file__).with_name("input_rules.yml").read_text(encoding="utf-8"))


@lru_cache(maxsize=None)
def named_by_playbooks() -> frozenset[str]:
    """Return the variables with this collection's prefix that its playbooks read or set; any other has no effect."""
    texts = (path.read_text(encoding="utf-8") for path in PLAYBOOKS_DIR.rglob("*.yml"))
    return frozenset(name for text in texts for name in re.findall(r"\bgpulab_\w+", text))


def prepare() -> None:
    """Read what inputs are judged by, which takes longer than to judge them."""
    rules()
    named_by_playbooks()
    for role in role_inputs.roles():
        role_inputs.spec(role)
        role_inputs.defaults(role)


def is_input(name: str) -> bool:
    """Tell whether a variable's name is that of an input: of a role, of the playbooks or of a rollout."""
    role = role_inputs.role_of(name)
    return (
        name in rules()["playbooks"]
        or name in rollout.DEFAULTS
        or (role is not None and name in role_inputs.spec(role))
    )


def problems(inputs: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with inputs, a sentence each: the variable, its value, and what is allowed."""
    found = rollout.problems({name: value for name, value in inputs.items() if name.startswith("rollout_")})
    for name, value in inputs.items():
        role = role_inputs.role_of(name)
        if role:
            option = role_inputs.spec(role).get(name)
            found += (_invalid(name, value, option) or _alone(name, inputs)) if option else [_unknown(name, role)]
        elif name in rules()["playbooks"]:
            found += _invalid(name, value, rules()["playbooks"][name])
        elif name.startswith("gpulab_") and name not in named_by_playbooks():
            found.append(_unread(name))
    return found


def unresolved(name: str, value: Any, cause: str) -> str:
    """Return the problem of a variable whose ``value`` Ansible could not work out."""
    why = " ".join(str(without_secrets(cause)).split()).rstrip(".")
    return f"{name}: {_shown(value)} is refused: Ansible cannot work it out: {why}."


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


def _unread(name: str) -> str:
    near = difflib.get_close_matches(name, rules()["playbooks"], n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(rules()['playbooks'])}."
    return f"{name} is read by no playbook of this collection; {hint}"


def _invalid(name: str, value: Any, option: Mapping[str, Any]) -> list[str]:
    if isinstance(value, str) and value == AUTO and AUTO not in option.get("choices", ()):
        return (
            [] if name in DECIDED_BY_PLAN else [f"{name} is auto; the plan does not decide it: leave it out instead."]
        )
    # An inventory that says nothing leaves it to the default, or to the plan.
    if value is None:
        return []
    kind = option["type"]
    # Ansible makes text of lists and numbers of booleans without a word.
    if _kind(value) not in _TAKEN.get(kind, (_kind(value),)):
        return [f"{name}: {_shown(value)} is refused: it is a {_kind(value)}, and must be {_MEANT[kind]} ({kind})."]
    outcome = ArgumentSpecValidator({name: dict(option)}).validate({name: value})
    if outcome.error_messages:
        return [f"{name}: {_shown(value)} is refused: {message}" for message in outcome.error_messages]
    if name in rules()["ranges"]:
        return _out_of_range(name, outcome.validated_parameters[name])
    if name in rules()["shapes"]:
        return _misshaped(name, outcome.validated_parameters[name])
    # The path as it was written, not as the controller's home and environment would have it.
    return _misformed(name, value if kind == "path" else outcome.validated_parameters[name])


def _alone(name: str, inputs: Mapping[str, Any]) -> list[str]:
    rule = rules()["unless"].get(name)
    if not rule or not re.match(rule["pattern"], str(inputs[name])) or boolean(inputs.get(rule["input"]), strict=False):
        return []
    return [f"{name}: {_shown(inputs[name])} is refused unless {rule['input']} is true: {rule['says']}."]


def _out_of_range(name: str, number: float) -> list[str]:
    least, most = rules()["ranges"][name]
    # Not a number compares with none.
    return [] if least <= number <= most else [f"{name}: {number} is refused: it must be from {least} to {most}."]


def _misformed(name: str, value: Any) -> list[str]:
    if name not in rules()["inputs"] or (value == "" and _may_be_empty(name)):
        return []
    form = rules()["forms"][rules()["inputs"][name]]
    each = value if isinstance(value, list) else [*value, *value.values()] if isinstance(value, Mapping) else [value]
    return [
        f"{name}: {_shown(item)} is refused: it must be {form['says']}."
        for item in each
        if not isinstance(item, (str, int, float)) or not re.fullmatch(form["pattern"], str(item))
    ]


def _may_be_empty(name: str) -> bool:
    role = role_inputs.role_of(name)
    return name in DECIDED_BY_PLAN or (role is not None and role_inputs.defaults(role)[name] == "")


def _misshaped(name: str, value: Mapping[str, Any]) -> list[str]:
    shape = rules()["shapes"][name]
    # An empty table is one left out.
    fits = not value or _fits(value, shape["is"])
    return [] if fits else [f"{name}: {_shown(value)} is refused: it must be {shape['says']}."]


def _fits(value: Any, shape: Any) -> bool:
    if shape == "rate":
        return _kind(value) == "number" and 0 < value < math.inf
    if not isinstance(value, Mapping):
        return False
    if shape == "mapping":
        return True
    return all(
        all(_fits(item, inner) for item in value.values()) if key == "each" else _fits(value.get(key), inner)
        for key, inner in shape.items()
    )


def _kind(value: Any) -> str:
    for kind, types in _KINDS.items():
        if isinstance(value, types):
            return kind
    return type(value).__name__


def _shown(value: Any) -> str:
    """Return a value for a message: in one line, no longer than a person reads, and without passwords."""
    text = ascii(without_secrets(_plain(value)))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


def _plain(value: Any) -> Any:
    """Return a value of an inventory without what Ansible wraps it in."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value
