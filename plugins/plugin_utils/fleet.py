# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One stack for a group of machines where there is one, and who stands in the way where there is none.

Common means the same TensorFlow from the same place and, where machines have a driver, the same branch of it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils import compatibility as data
from ansible_collections.gpulab.workstation.plugins.plugin_utils.lock import agree
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver import resolve
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_model import Refused, is_set
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_plan import describe, refused_plan
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_search import by_preference

Plan = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """Machines that are alike in all that a plan depends on."""

    facts: Mapping[str, Any]
    hosts: tuple[str, ...]

    def resolve(self, pins: Mapping[str, str], *, today: date) -> Plan:
        """Return the plan with the group's pins, or a refusal where the machine's own inventory says otherwise."""
        gpu, system, own = self.facts["gpu"], self.facts["system"], self.facts["inputs"]
        for name, pin in pins.items():
            if is_set(own.get(name)) and not agree(str(own[name]), pin):
                refused = Refused(
                    f"Its inventory asks for {name}: {own[name]}, and the group would have {pin}.",
                    conflict=(f"{name}: {own[name]}", f"the group's {pin}"),
                )
                return refused_plan(refused, summary=describe(gpu=gpu, system=system, compat=data.load()), nearest=[])
        return resolve(gpu=gpu, system=system, inputs={**own, **pins}, today=today)


@dataclass(frozen=True)
class Attempt:
    """What becomes of each kind of machine under one set of pins."""

    plans: tuple[tuple[Kind, Plan], ...]

    @property
    def branches(self) -> Counter[str]:
        """The driver branches, by how many hosts have them."""
        counts: Counter[str] = Counter()
        for kind, plan in self.plans:
            if plan["stack"] and plan["stack"]["driver"]:
                counts[plan["stack"]["driver"]["branch"]] += len(kind.hosts)
        return counts

    def in_the_way(self) -> list[dict[str, Any]]:
        """Return the hosts that this does not serve, or not with the branch that most have, and why."""
        main = next((branch for branch, _count in self.branches.most_common(1)), None)
        found = []
        for kind, plan in self.plans:
            if plan["refusal"]:
                found.append({"hosts": list(kind.hosts), "reason": plan["refusal"]["message"]})
            elif plan["stack"]["driver"] and plan["stack"]["driver"]["branch"] != main:
                branch = plan["stack"]["driver"]["branch"]
                found.append({"hosts": list(kind.hosts), "reason": f"Its driver is {branch}, most have {main}."})
        return found

    def common(self) -> dict[str, Any] | None:
        """Return what is the same on every host, once nobody is in the way."""
        if not self.plans or self.in_the_way():
            return None
        stack = self.plans[0][1]["stack"]
        return {
            "tensorflow": {"version": stack["tensorflow"]["version"], "source": stack["tensorflow"]["source"]},
            "driver_branch": next(iter(self.branches), None),
        }


def resolve_fleet(machines: Mapping[str, Mapping[str, Any]], *, today: date | None = None) -> dict[str, Any]:
    """Return the common stack of {host: {gpu, system, inputs}}, a plan for every host, and who is in the way.

    Without a common stack every host gets the plan that is its own; ``in_the_way`` names those that would have to leave
    the group for the stack that most of the others can share.
    """
    day = today or date.today()
    kinds = kinds_of(machines)
    own = Attempt(tuple((kind, kind.resolve({}, today=day)) for kind in kinds))
    best = own
    common = None
    for attempt in attempts(kinds, own, today=day):
        if _hosts_in_the_way(attempt) < _hosts_in_the_way(best) or best is own:
            best = attempt
        common = attempt.common()
        if common:
            break
    chosen = best if common else own
    return {
        "common": common,
        "plans": {host: plan for kind, plan in chosen.plans for host in kind.hosts},
        "in_the_way": best.in_the_way(),
    }


def kinds_of(machines: Mapping[str, Mapping[str, Any]]) -> list[Kind]:
    """Group machines that are alike: a lab of a thousand has a dozen kinds."""
    facts_of: dict[str, Mapping[str, Any]] = {}
    hosts_of: dict[str, list[str]] = {}
    for host, facts in machines.items():
        key = json.dumps(_what_counts(facts), sort_keys=True, default=str)
        facts_of.setdefault(key, {"inputs": {}, **facts})
        hosts_of.setdefault(key, []).append(host)
    return [Kind(facts=facts, hosts=tuple(hosts_of[key])) for key, facts in facts_of.items()]


def _what_counts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what differs between twins: serial numbers, free space, temperatures."""
    gpu, system = facts["gpu"], facts["system"]
    return {
        "gpus": [
            [entry.get(name) for name in ("name", "device_id", "architecture", "compute_capability", "kernel_modules")]
            for entry in gpu.get("gpus") or ()
        ],
        "machine": [gpu.get(name) for name in ("driver", "platform", "secure_boot", "nvswitches")],
        "system": [system.get(name) for name in ("id", "version", "architecture", "kernel", "glibc", "gcc", "pythons")],
        "inputs": facts.get("inputs"),
    }


def attempts(kinds: list[Kind], own: Attempt, *, today: date) -> Iterator[Attempt]:
    """Yield every TensorFlow for all alike, first those that ``auto`` would take, and with each the driver branches."""
    compat = data.load()
    uses_cuda = any(plan["stack"] and plan["stack"]["tensorflow"]["build"] == "cuda" for _kind, plan in own.plans)
    releases = sorted(
        (*compat.pip, *compat.conda_forge),
        key=lambda release: (not release.locked, uses_cuda and not release.finds_libraries),
    )
    for release in releases:
        pins = {"tensorflow_version": release.version, "tensorflow_source": release.origin}
        attempt = Attempt(tuple((kind, kind.resolve(pins, today=today)) for kind in kinds))
        yield attempt
        if len(attempt.branches) < 2:
            continue
        branches = dict(attempt.branches.most_common())
        if not any(plan["refusal"] for _kind, plan in attempt.plans):
            # A branch that nobody has may still be the one that all can have.
            branches.update((known.branch, 0) for known in by_preference((), compat=compat, today=today))
        for branch in branches:
            alike = {**pins, "nvidia_driver_branch": branch}
            yield Attempt(tuple((kind, kind.resolve(alike, today=today)) for kind in kinds))


def _hosts_in_the_way(attempt: Attempt) -> int:
    return sum(len(entry["hosts"]) for entry in attempt.in_the_way())
