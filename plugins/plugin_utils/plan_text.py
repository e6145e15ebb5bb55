# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans as text: one machine with every reason, or many machines, those with the same plan together."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any

Plan = Mapping[str, Any]

WIDTH = 100
INDENT = "  "
# What was passed over is for the curious: more than this is counted, not listed.
REJECTIONS = 5
TITLES = {
    "os_prep": "System",
    "nvidia_driver": "Driver",
    "cuda": "CUDA",
    "cudnn": "cuDNN",
    "anaconda": "conda",
    "python": "Python",
    "tensorflow": "TensorFlow",
    "cifar10": "Proof",
}


def plan_text(plans: Plan | Mapping[str, Plan]) -> str:
    """Return one plan, or {host: plan}, as lines of at most 100 columns."""
    if "schema" in plans:
        return "\n".join(one_plan(plans))
    groups = alike(plans)
    blocks = [] if len(groups) == 1 else [overview(groups)]
    blocks += [one_plan(plan, hosts=hosts, brief=len(groups) > 1) for hosts, plan in groups]
    return "\n\n".join("\n".join(block) for block in blocks)


def alike(plans: Mapping[str, Plan]) -> list[tuple[list[str], Plan]]:
    """Group hosts by identical plan, the largest group first, those that are refused last."""
    groups: dict[str, tuple[list[str], Plan]] = {}
    for host, plan in plans.items():
        groups.setdefault(json.dumps(plan, sort_keys=True), ([], plan))[0].append(host)
    return sorted(groups.values(), key=lambda group: (group[1]["refusal"] is not None, -len(group[0])))


# --- many machines ----------------------------------------------------------------------------------------------------


def overview(groups: Sequence[tuple[list[str], Plan]]) -> list[str]:
    """Return a table with one line for each different plan."""
    machines = sum(len(hosts) for hosts, _plan in groups)
    refused = sum(len(hosts) for hosts, plan in groups if plan["refusal"])
    heading = f"{machines} machines, {len(groups)} different plans" + (f", {refused} refused" if refused else "")
    rows = [(str(len(hosts)), folded(hosts), *in_short(plan)) for hosts, plan in groups]
    return [heading, "", *table([("", "hosts", "driver", "TensorFlow"), *rows], widths=(5, 38, 24, 30))]


def in_short(plan: Plan) -> tuple[str, str]:
    """Return the driver and TensorFlow in a few words each."""
    if plan["refusal"]:
        return "refused", "see below"
    driver, tensorflow = plan["stack"]["driver"], plan["stack"]["tensorflow"]
    return (
        f"{driver['branch']} {driver['modules']}" if driver else "none",
        f"{tensorflow['version']} {tensorflow['build']}, {tensorflow['source']}",
    )


def folded(hosts: Iterable[str]) -> str:
    """Return host names with runs of numbers folded: 'gpu[01-12], tower'."""
    runs: list[tuple[str, str, str, str]] = []
    for host in sorted(hosts, key=_natural):
        prefix, number, suffix = _split(host)
        if runs and number and runs[-1][0] == prefix and runs[-1][3] == suffix and _follows(runs[-1][2], number):
            runs[-1] = (prefix, runs[-1][1], number, suffix)
        else:
            runs.append((prefix, number, number, suffix))
    return ", ".join(
        f"{prefix}{first}{suffix}" if first == last else f"{prefix}[{first}-{last}]{suffix}"
        for prefix, first, last, suffix in runs
    )


def _split(host: str) -> tuple[str, str, str]:
    """Split 'gpu07.lab' into 'gpu', '07', '.lab': at the last number of the first label."""
    label, dot, domain = host.partition(".")
    found = re.fullmatch(r"(.*?)(\d+)(\D*)", label)
    return (found[1], found[2], f"{found[3]}{dot}{domain}") if found else (host, "", "")


def _follows(last: str, number: str) -> bool:
    return int(number) == int(last) + 1 and len(number) in (len(last), len(str(int(number))))


def _natural(host: str) -> list[tuple[bool, int, str]]:
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", host)]


# --- one plan ---------------------------------------------------------------------------------------------------------


def one_plan(plan: Plan, *, hosts: Sequence[str] = (), brief: bool = False) -> list[str]:
    """Return the lines of a plan: the machine, the stack with its reasons, the warnings, and what was not taken."""
    count = f" · {len(hosts)} machines" if len(hosts) > 1 else ""
    heading = [*wrap(f"{folded(hosts)}{count}", WIDTH), plan["summary"]] if hosts else [plan["summary"]]
    if plan["refusal"]:
        return [*heading, "", *refusal(plan["refusal"])]
    rows = [(TITLES[entry["component"]], entry["choice"], entry["reason"]) for entry in plan["reasons"]]
    lines = [*heading, "", *table(rows, widths=(12, 36, 50))]
    extras = constraints(plan)
    if extras:
        lines += ["", *bullets("With", extras)]
    if plan["warnings"]:
        lines += ["", *bullets("Note", [entry["message"] for entry in plan["warnings"]])]
    if plan["rejected"] and not brief:
        lines += ["", *bullets("Not taken", list(rejections(plan["rejected"])))]
    return lines


def constraints(plan: Plan) -> list[str]:
    """Return what the environment gets that a plain installation would not have."""
    inputs = plan["components"]["tensorflow"]
    found = [f"the constraint {constraint}" for constraint in inputs["tensorflow_constraints"]]
    if inputs["tensorflow_library_path"]:
        found.append("a library path in the environment, because the wheel may not find its CUDA libraries")
    return found


def refusal(refused: Mapping[str, Any]) -> list[str]:
    lines = bullets("Refused", [refused["message"]])
    if refused["nearest"]:
        lines += ["", *bullets("What works", [offer["advice"] for offer in refused["nearest"]])]
    return lines


def rejections(rejected: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield what was passed over, what has the same reason in one line."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for entry in rejected:
        reason = entry["reason"].removeprefix(entry["candidate"]).strip()
        by_reason.setdefault((entry["component"], reason), []).append(entry["candidate"])
    for (_component, reason), candidates in list(by_reason.items())[:REJECTIONS]:
        others = f" and {len(candidates) - 1} older" if len(candidates) > 1 else ""
        yield f"{candidates[0]}{others}: {reason}"
    rest = sum(len(candidates) for candidates in list(by_reason.values())[REJECTIONS:])
    if rest:
        yield f"and {rest} more"


# --- lines ------------------------------------------------------------------------------------------------------------


def bullets(title: str, texts: Sequence[str]) -> list[str]:
    """Return texts beside a title, in the columns of the stack's table."""
    mark = "- " if len(texts) > 1 else ""
    rows = [(title if index == 0 else "", f"{mark}{text}") for index, text in enumerate(texts)]
    return table(rows, widths=(12, 86))


def table(rows: Sequence[Sequence[str]], *, widths: Sequence[int]) -> list[str]:
    """Return rows in columns, each cell wrapped to its column's width."""
    lines = []
    for row in rows:
        cells = [wrap(cell, width - 2, break_on_hyphens=False) or [""] for cell, width in zip(row, widths, strict=True)]
        for number in range(max(len(cell) for cell in cells)):
            parts = (cell[number] if number < len(cell) else "" for cell in cells)
            line = "".join(part.ljust(width) for part, width in zip(parts, widths, strict=True))
            lines.append(f"{INDENT}{line}".rstrip())
    return lines
