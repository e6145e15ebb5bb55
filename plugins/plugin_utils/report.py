# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the records of a run to what its page shows. Pure: no file, no clock, no Ansible."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils.report_machine import (
    NEED_A_PERSON,
    STATUSES,
    Record,
    machine_view,
    stack_line,
)

# A chart as wide as a page shows no more samples than this ...
POINTS_A_CHART = 240
# ... and a page of many machines stays light enough to be mailed: 120,000 samples are about 2 MB.
POINTS_A_PAGE = 120_000
# A machine is an outlier when it reaches less than this share of its siblings' median, of which there must be some.
OUTLIER_BELOW = 0.85
SIBLINGS_AT_LEAST = 3


def report_data(records: Sequence[Record], waves: Sequence[Record] = ()) -> Record:
    """What the page shows of ``records``: machines, what a person must do, what differs from its plan, what was left
    for later, what was not checked, plans by group; and of a rollout, its ``waves``.
    """
    gpus = sum(len((record.get("gpu") or {}).get("gpus") or []) for record in records)
    points = max(30, min(POINTS_A_CHART, POINTS_A_PAGE // (3 * gpus + 1)))
    machines = [machine_view(record, points=points) for record in records]
    for machine, sibling in zip(machines, _siblings(records), strict=True):
        machine["siblings"] = sibling
        if sibling and sibling["share"] < OUTLIER_BELOW:
            machine["actions"].append(_outlier(sibling))
    plans = _plans(records)
    for number, plan in enumerate(plans):
        for position in plan.pop("positions"):
            machines[position]["plan"] = number
    machines.sort(key=lambda machine: (STATUSES.index(machine["status"]), _natural(machine["host"])))
    return {
        "schema": 1,
        "verdict": verdict(machines),
        "statuses": {name: sum(machine["status"] == name for machine in machines) for name in STATUSES},
        "actions": _actions(machines),
        "waves": _waves(waves, machines),
        "skipped": _grouped(
            (machine["host"], "skipped", machine["skipped"]) for machine in machines if machine["skipped"]
        ),
        "differs": _differs(machines),
        "not_checked": _not_checked(machines),
        "plans": plans,
        "machines": machines,
    }


def _natural(name: str) -> list[Any]:
    """A sort key that puts node2 before node10."""
    return [(not part.isdigit(), int(part) if part.isdigit() else part) for part in re.split(r"(\d+)", name)]


def verdict(machines: Sequence[Record]) -> Record:
    """The run in one sentence, and whether a person is needed (``act``), should look (``look``) or may go on."""
    if not machines:
        return {"level": "look", "text": "No machine took part in this run."}
    need = sum(machine["status"] in NEED_A_PERSON for machine in machines)
    looks = any(
        machine["actions"] or machine["status"] in ("drifted", "skipped", "not checked") for machine in machines
    )
    level = "act" if need else "look" if looks else "fine"
    if len(machines) == 1:
        return {"level": level, "text": SENTENCES[machines[0]["status"]].format(machines[0]["host"])}
    if need:
        verb = "needs" if need == 1 else "need"
        return {"level": level, "text": f"{need} of {len(machines)} machines {verb} a person."}
    if drifted := sum(machine["status"] == "drifted" for machine in machines):
        verb = "is" if drifted == 1 else "are"
        text = f"{drifted} of {len(machines)} machines {verb} not as planned; nothing was changed there."
        return {"level": level, "text": text}
    if skipped := sum(machine["status"] == "skipped" for machine in machines):
        verb = "was" if skipped == 1 else "were"
        return {"level": level, "text": f"{skipped} of {len(machines)} machines {verb} left for later; none failed."}
    proved = sum(machine["status"] == "proved" for machine in machines)
    return {"level": level, "text": f"{len(machines)} machines, none needs a person; {proved} proved by this run."}


SENTENCES = {
    "failed": "{} failed.",
    "unreachable": "{} did not answer.",
    "refused": "{}: no stack fits what was asked for.",
    "rolled back": "{} failed, and was put back to what it had.",
    "skipped": "{} was left for later.",
    "drifted": "{} is not as planned; nothing was changed.",
    "not checked": "{} was not checked.",
    "converged": "{} was brought to its plan, and is not proved.",
    "as planned": "{} is as planned; nothing had to change.",
    "proved": "{} is proved.",
}


def _actions(machines: Iterable[Record]) -> list[Record]:
    """What must be done, a machine's urgent items together; machines with the same trouble once, with their names."""
    groups: dict[str, Record] = {}
    for machine in machines:
        urgent = [item for item in machine["actions"] if item["level"] == "act"]
        others = [item for item in machine["actions"] if item["level"] != "act"]
        for items in [urgent, *([item] for item in others)]:
            if items:
                group = groups.setdefault(repr(items), {"level": items[0]["level"], "items": items, "hosts": []})
                group["hosts"].append(machine["host"])
    return sorted(groups.values(), key=lambda group: (group["level"], -len(group["hosts"])))


def _waves(waves: Sequence[Record], machines: Iterable[Record]) -> list[Record]:
    """Each wave with the statuses of its machines, when it began and ended (Unix time in seconds; one that did not
    begin has not ended), and the turns of its machines; of statuses and machines the worst first.
    """
    by_host = {machine["host"]: machine for machine in machines}
    shown = []
    for number, wave in enumerate(waves, start=1):
        turns = [_turn(by_host[host]) for host in wave["hosts"]]
        turns.sort(key=lambda turn: (STATUSES.index(turn["status"]), turn["ended"] or 0.0, _natural(turn["host"])))
        found = [turn["status"] for turn in turns]
        ended = float(wave["ended"]) if wave["ended"] else None
        shown.append(
            {
                "number": number,
                "statuses": {name: found.count(name) for name in STATUSES if name in found},
                "began": float(wave["began"]),
                "ended": ended,
                "seconds": None if ended is None else round(ended - float(wave["began"]), 1),
                "turns": turns,
            }
        )
    return shown


def _turn(machine: Record) -> Record:
    turn = machine["turn"] or {}
    return {
        "host": machine["host"],
        "status": machine["status"],
        "skipped": machine["skipped"],
        "began": turn.get("began"),
        "ended": turn.get("ended"),
    }


def _differs(machines: Iterable[Record]) -> list[Record]:
    """Which components are not as planned and why, of machines that were left so."""
    return _grouped(
        (machine["host"], item["component"], "; ".join(item["reasons"]))
        for machine in machines
        for item in machine["drift"]
        if machine["status"] == "drifted"
    )


def _not_checked(machines: Iterable[Record]) -> list[Record]:
    """What was not checked and why."""
    return _grouped(
        (machine["host"], str(item["name"]), str(item["why"]))
        for machine in machines
        for item in machine["not_checked"]
    )


def _grouped(found: Iterable[tuple[str, str, str]]) -> list[Record]:
    """Each name and why once, with all hosts that share it; the most frequent first."""
    groups: dict[tuple[str, str], list[str]] = {}
    for host, name, why in found:
        groups.setdefault((name, why), []).append(host)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return [{"name": name, "why": why, "hosts": hosts} for (name, why), hosts in ordered]


def _plans(records: Sequence[Record]) -> list[Record]:
    """Plans that say the same once, with the positions of the machines they are for; the most frequent first."""
    groups: dict[str, Record] = {}
    for position, record in enumerate(records):
        plan = record.get("plan")
        if not plan:
            continue
        shown = {name: plan.get(name) for name in ("summary", "stack", "refusal", "reasons", "warnings", "rejected")}
        group = groups.setdefault(repr(shown), {**shown, "line": stack_line(plan), "positions": []})
        group["positions"].append(position)
    return sorted(groups.values(), key=lambda plan: -len(plan["positions"]))


def _siblings(records: Sequence[Record]) -> list[Record | None]:
    """For each machine, how it compares with those that have the same GPUs and ran the same proof."""
    speeds: dict[str, list[float]] = {}
    keys = [_kind(record) for record in records]
    for key, record in zip(keys, records, strict=True):
        if key:
            speeds.setdefault(key, []).append(record["proof"]["images_per_s"])
    return [_against(record, speeds.get(key, [])) for key, record in zip(keys, records, strict=True)]


def _kind(record: Record) -> str:
    """What machines that may be compared have in common; empty without a GPU, as processors differ too much."""
    cards = (record.get("gpu") or {}).get("gpus") or []
    proof = record.get("proof") or {}
    if not (cards and proof.get("passed") and proof.get("images_per_s")):
        return ""
    return repr([sorted(str(card.get("name")) for card in cards), proof.get("recipe")])


def _against(record: Record, speeds: list[float]) -> Record | None:
    if len(speeds) < SIBLINGS_AT_LEAST:
        return None
    median = statistics.median(speeds)
    share = record["proof"]["images_per_s"] / median
    return {"median": round(median, 1), "machines": len(speeds), "share": round(share, 3)}


def _outlier(sibling: Record) -> Record:
    what = (
        f"It reaches {sibling['share']:.0%} of the median of {sibling['machines']} machines with the same GPUs "
        f"({sibling['median']:,.0f} images/s)."
    )
    return {"level": "look", "what": what, "remedy": "Look at its cooling, power limit and PCIe link.", "where": ""}
