# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The short table at the end of a run, for a terminal of 100 columns. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils.report import report_data
from ansible_collections.gpulab.workstation.plugins.plugin_utils.report_machine import Record
from ansible_collections.gpulab.workstation.plugins.plugin_utils.terminal import harmless

WIDTH = 100
LABEL = 14
# The terminal shows the worst of a large fleet, and the beginning of a long message; the page has all of both.
ROWS = 60
ITEMS = 12
SENTENCE = 400


def report_table(records: Sequence[Record], waves: Sequence[Record] = ()) -> str:
    """How the run ended: one machine as a small table of label and value, several as one row a machine."""
    page = report_data(records, waves)
    lines = _one(page) if len(page["machines"]) == 1 else _many(page)
    return "\n".join(line.rstrip() for line in lines)


def _one(page: Record) -> list[str]:
    machine = page["machines"][0]
    known = ", ".join(filter(None, (machine["system"], machine["gpus"])))
    lines = [
        *_row("machine", f"{machine['host']}: {known}" if known else machine["host"]),
        *_row("result", page["verdict"]["text"]),
        *_row("stack", machine["stack"] or "none"),
        *_row("changed", ", ".join(machine["changed"]) or "nothing"),
        *_row("accuracy", _accuracy(machine)),
        *_row("throughput", f"{_speed(machine)} images/s" if machine["images_per_s"] else "-"),
        *_row("checks", _checks(machine)),
    ]
    lines += _items("left", [item["why"] for item in page["skipped"]])
    lines += _items("differs", [f"{item['name']}: {item['why']}" for item in page["differs"]])
    lines += _items("not checked", _by_reason(machine["not_checked"]))
    return lines + _items("to do", [_action(item) for item in machine["actions"]])


def _many(page: Record) -> list[str]:
    machines = page["machines"][:ROWS]
    columns = [
        ("machine", 20, [machine["host"] for machine in machines]),
        ("status", 11, [machine["status"] for machine in machines]),
        ("GPUs", 26, [machine["gpus"].replace("NVIDIA GeForce ", "") for machine in machines]),
        ("accuracy", 8, [_fraction(machine["accuracy"]) for machine in machines]),
        ("images/s", 9, [_speed(machine) for machine in machines]),
        ("changed", 16, [", ".join(machine["changed"]) or "-" for machine in machines]),
    ]
    lines = ["  ".join(_cell(name, width) for name, width, _values in columns)]
    for row in range(len(machines)):
        lines.append("  ".join(_cell(values[row], width) for _name, width, values in columns))
    if rest := len(page["machines"]) - len(machines):
        lines.append(f"… and {rest} more, none of them worse")
    lines += ["", *_row("result", page["verdict"]["text"])]
    lines += _items("waves", [_wave(wave) for wave in page["waves"]])
    lines += _items("left", [f"{_hosts(item)} {item['why']}" for item in page["skipped"]])
    lines += _items("differs", [f"{_hosts(item)} {item['name']}: {item['why']}" for item in page["differs"]])
    lines += _items("not checked", [f"{item['name']}: {item['why']} {_hosts(item)}" for item in page["not_checked"]])
    todo = [f"{_hosts(group)} {' '.join(_action(item) for item in group['items'])}" for group in page["actions"]]
    return lines + _items("to do", todo)


def _wave(wave: Record) -> str:
    ended = "not begun" if wave["seconds"] is None else f"{wave['seconds']:.0f} s"
    return f"{wave['number']}: {', '.join(f'{count} {name}' for name, count in wave['statuses'].items())}; {ended}"


def _row(label: str, text: str) -> list[str]:
    quoted = textwrap.shorten(harmless(text), SENTENCE, placeholder=" …")
    return textwrap.wrap(quoted, WIDTH, initial_indent=label.ljust(LABEL), subsequent_indent=" " * LABEL) or [label]


def _items(label: str, texts: Sequence[str]) -> list[str]:
    shown = [*texts[:ITEMS], *([f"… and {len(texts) - ITEMS} more"] if len(texts) > ITEMS else [])]
    rows = [line for text in shown for line in _row("", text)]
    return [label.ljust(LABEL) + rows[0][LABEL:], *rows[1:]] if rows else []


def _by_reason(items: Sequence[Record]) -> list[str]:
    """Name what has the same reason together: the reason is what there is to read."""
    names: dict[str, list[str]] = {}
    for item in items:
        names.setdefault(item["why"], []).append(item["name"])
    return [f"{', '.join(group)}: {why}" for why, group in names.items()]


def _cell(text: str, width: int) -> str:
    text = " ".join(harmless(text).split())
    return (text if len(text) <= width else text[: width - 1] + "…").ljust(width)


def _accuracy(machine: Record) -> str:
    if machine["accuracy"] is None:
        return "-"
    proof = machine["proof"]
    images = (proof["dataset"] or {}).get("name")
    how = f"after {proof['epochs']} epochs on {images} ({proof['recipe']} recipe)"
    return f"{_fraction(machine['accuracy'])} {how}"


def _fraction(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}"


def _speed(machine: Record) -> str:
    return f"{machine['images_per_s']:,.0f}" if machine["images_per_s"] else "-"


def _checks(machine: Record) -> str:
    states = [check.get("status") for check in machine["checks"]]
    words = (f"{states.count(state)} {state.replace('_', ' ')}" for state in ("passed", "failed", "not_checked"))
    return ", ".join(words)


def _action(item: Record) -> str:
    return " ".join(filter(None, (item["where"] and f"{item['where']}:", item["what"], item["remedy"])))


def _hosts(item: Record) -> str:
    hosts = item["hosts"]
    return f"[{', '.join(hosts[:3])}{f' and {len(hosts) - 3} more' if len(hosts) > 3 else ''}]"
