# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a machine is not as planned, component by component.

A component is as planned when it has a receipt, the receipt's inputs are those it would be given now, and the machine
still bears out the receipt's evidence. A driver must serve its GPUs as well.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Any

from ansible_collections.gpulab.workstation.plugins.module_utils._addresses import without_secrets
from ansible_collections.gpulab.workstation.plugins.plugin_utils import role_inputs

# A proof is as good as what it proved: when one of these changes, it is to be repeated.
PROVED = ("nvidia_driver", "cuda", "cudnn", "anaconda", "tensorflow")
# Of these, what keeps its last version to go back to. TensorFlow runs on nothing of the others but conda's interpreter,
# which is in the environment.
REVERSIBLE = ("tensorflow", "nvidia_driver")
# The errors of gpu_info that the role nvidia_driver is there to put right.
DRIVER_BROKEN = (
    "driver_absent",
    "driver_not_loaded",
    "nouveau_in_use",
    "secure_boot_refuses_module",
    "dkms_not_built",
    "driver_mismatch",
    "library_absent",
    "wrong_kernel_modules",
    "device_nodes_missing",
    "fabric_manager_absent",
    "fabric_manager_mismatch",
)
# Two controllers' clocks may differ a little.
CLOCKS_APART = datetime.timedelta(hours=1)
# What no role puts right: a GPU that the driver leaves alone, and what breaks the driver at the next restart.
DRIVER_AT_RISK = ("next_kernel_without_module", "gpu_undriven")
# Inputs that say nothing about what is there or was proved: a table that grows repeats no proof, nor does another place
# to fetch the same file from.
ABOUT_OTHERS = (
    "anaconda_cache",
    "cifar10_dataset_url",
    "cifar10_max_age",
    "cifar10_timeout",
    "cifar10_accepted",
    "cifar10_share",
    "cifar10_address",
    "cifar10_port",
)


def compare(
    plan: Mapping[str, Any],
    stack: Mapping[str, Any],
    inputs: Mapping[str, Any],
    gpu: Mapping[str, Any] | None = None,
    *,
    audit: bool = False,
    now: datetime.datetime | None = None,
) -> list[dict[str, Any]]:
    """Return ``{component, drifted, reasons}`` for each component of ``plan``, in the plan's order.

    ``stack`` is what stack_info returned, ``inputs`` are the role inputs that the inventory sets, ``gpu`` is what
    gpu_info returned, ``now`` is the time that a proof's age is counted to (UTC; the current time unless given). An
    ``audit`` counts what no role puts right as well.
    """
    found: list[dict[str, Any]] = []
    for component, decided in plan["components"].items():
        receipt = stack["components"].get(component)
        wanted = wanted_inputs(component, decided, inputs)
        reasons = _reasons(component, wanted, receipt)
        if component == "nvidia_driver" and receipt is not None:
            reasons += _findings(gpu, DRIVER_BROKEN)
            if audit:
                reasons += _findings(gpu, DRIVER_AT_RISK) + _foreign_sources(stack)
        if component == "cifar10" and not reasons and receipt is not None:
            drifted = [item["component"] for item in found if item["drifted"] and item["component"] in PROVED]
            reasons = [f"{name} changes" for name in drifted] + _proof(wanted, receipt, now)
            if gpu and not reasons:
                reasons = _other_stack(receipt, gpu, stack)
        found.append({"component": component, "drifted": bool(reasons), "reasons": reasons})
    return found


def fingerprint(gpu: Mapping[str, Any], stack: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a proof is a proof of: the GPUs in their slots, the running driver, and what each component left."""
    components = {name: stack["components"][name] for name in PROVED if name in stack["components"]}
    left = {name: f"{found['version']} ({found['digest']})" for name, found in components.items()}
    gpus = sorted(f"{card['uuid']} at {card['pci_address']}" for card in gpu["gpus"])
    return {"gpus": gpus, "running_driver": gpu["driver"]["loaded"], **left}


def unproved(gpu: Mapping[str, Any], stack: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """Return what is to be put back after a proof, in that order: nothing, unless it failed.

    ``gpu`` and ``stack`` are what gpu_info and stack_info return now, ``before`` holds what they returned before the
    run. What has changed since goes back, and what is of another version than when a proof passed last: it may have
    waited for a restart.
    """
    verdict, last = (seen["components"].get("cifar10", {}).get("details", {}) for seen in (stack, before["stack"]))
    if verdict.get("passed", True) or verdict["finished"] == last.get("finished"):
        return []
    passed = (last.get("stack") or {}) if last.get("passed") else {}
    changed = {
        "tensorflow": _differ(*(_environment(seen) for seen in (before["stack"], stack))),
        "nvidia_driver": before["gpu"]["driver"]["installed"] is not None
        and any(_differ(before["gpu"]["driver"][key], gpu["driver"][key]) for key in ("installed", "modules")),
    }
    versions = {name: stack["components"].get(name, {}).get("version") for name in REVERSIBLE}
    return [name for name in REVERSIBLE if changed[name] or _differ(passed.get(name), versions[name])]


def text(drifts: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return what differs on each host as lines of at most 100 columns; hosts that differ alike stand together."""
    groups: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for host, components in drifts.items():
        found = tuple((item["component"], "; ".join(item["reasons"])) for item in components if item["drifted"])
        groups.setdefault(found, []).append(host)
    lines: list[str] = []
    for found, hosts in groups.items():
        title = f"{', '.join(hosts)}: {'is' if len(hosts) == 1 else 'are'} as planned, nothing would change"
        lines += wrap(title if not found else f"{', '.join(hosts)}: would change", width=100, subsequent_indent="  ")
        for component, reasons in found:
            lines += wrap(f"  {component:<14}  {reasons}", width=100, subsequent_indent=" " * 18)
    return "\n".join(lines)


def wanted_inputs(component: str, decided: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs a role would get now: its defaults, then the inventory's, then those the plan decided."""
    given = {name: value for name, value in inputs.items() if role_inputs.role_of(name) == component}
    return {**role_inputs.defaults(component), **given, **decided}


def _reasons(component: str, wanted: Mapping[str, Any], receipt: Mapping[str, Any] | None) -> list[str]:
    if receipt is None:
        return ["not installed by this collection"]
    recorded = receipt["inputs"]
    reasons = [
        f"{name} is {recorded[name]!r}, planned {value!r}" if name in recorded else f"{name} is new, planned {value!r}"
        for name, value in without_secrets(wanted).items()
        if name not in ABOUT_OTHERS and (name not in recorded or recorded[name] != value)
    ]
    return reasons + [_evidence(item) for item in receipt["broken"]]


def _evidence(item: Mapping[str, Any]) -> str:
    if item["kind"] == "hold":
        return f"package {item['name']} is not held any more"
    if item["found"] is None:
        return f"{item['kind']} {item['name']} is gone"
    if item["kind"] == "package":
        return f"package {item['name']} is {item['found']}, was {item['expected']}"
    return f"{item['kind']} {item['name']} was changed by hand"


def _findings(gpu: Mapping[str, Any] | None, codes: Sequence[str]) -> list[str]:
    """What gpu_info says by these codes; without a GPU, as in an image being built, there is nothing to serve."""
    findings = gpu["findings"] if gpu and gpu["gpus"] else []
    return [item["message"] for item in findings if item["code"] in codes]


def _foreign_sources(stack: Mapping[str, Any]) -> list[str]:
    sources = stack["system"]["foreign_sources"]
    return [f"{item['file']} offers NVIDIA's packages from {item['uri']}" for item in sources]


def _proof(wanted: Mapping[str, Any], receipt: Mapping[str, Any], now: datetime.datetime | None) -> list[str]:
    """Say so when the proof failed, or is older than ``cifar10_max_age`` days; 0 means that a proof never ages.

    One from the future was dated by a clock that was wrong, and would not age for as long.
    """
    if not receipt["details"]["passed"]:
        return ["the last proof failed"]
    days = int(wanted["cifar10_max_age"])
    finished = datetime.datetime.fromisoformat(receipt["details"]["finished"])
    age = (now or datetime.datetime.now(datetime.timezone.utc)) - finished
    if days and age < -CLOCKS_APART:
        return [f"proved on {finished.date()}, which is yet to come"]
    if days and age > datetime.timedelta(days=days):
        return [f"proved on {finished.date()}, longer ago than cifar10_max_age ({days} days)"]
    return []


def _other_stack(receipt: Mapping[str, Any], gpu: Mapping[str, Any], stack: Mapping[str, Any]) -> list[str]:
    """Say what is not any more as it was proved, where the proof recorded it."""
    then = receipt["details"].get("stack")
    if then is None:
        return []
    now = fingerprint(gpu, stack)
    return [
        f"{name} was {_words(then.get(name))} when it was proved, is {_words(now.get(name))}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]


def _environment(stack: Mapping[str, Any]) -> str | None:
    """Return the directory of the environment in use."""
    return stack["components"].get("tensorflow", {}).get("details", {}).get("directory")


def _differ(one: str | None, other: str | None) -> bool:
    """Whether both are known, and not the same."""
    return None not in (one, other) and one != other


def _words(value: Any) -> str:
    return (", ".join(value) if isinstance(value, list) else value) or "none"
