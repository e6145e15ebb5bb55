# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a rollout goes: who comes in which wave, who is in use, when it may run, and when it has to stop.

Pure: the machines are records, and the time is given.
"""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils.report_machine import NEED_A_PERSON, Record, status

# What an inventory may say of a rollout, and what holds where it says nothing. See docs/rollout.md.
DEFAULTS: dict[str, Any] = {
    "rollout_waves": [1, "10%", "50%", "100%"],
    "rollout_failures": "10%",
    "rollout_canary": [],
    "rollout_wait": 0,
    "rollout_window": [],
    "rollout_drain_command": "",
    "rollout_undrain_command": "",
    "rollout_commands_on": "localhost",
}
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
WINDOW = re.compile(
    rf"(?:(?P<first>{'|'.join(DAYS)})(?:-(?P<last>{'|'.join(DAYS)}))? )?"
    r"(?P<begin>(?:[01]\d|2[0-3]):[0-5]\d)-(?P<end>(?:[01]\d|2[0-3]):[0-5]\d|24:00)"
)


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings of a rollout, of which ``given`` has some; what may be a list is one."""
    chosen = {**DEFAULTS, **given}
    lists = {name: _list(chosen[name]) for name in ("rollout_waves", "rollout_canary", "rollout_window")}
    return {**chosen, **lists}


def problems(given: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with settings of a rollout, a sentence each."""
    chosen = settings(given)
    found = [_unknown(name) for name in given if name not in DEFAULTS]
    found += [
        f"{name} has {size!r}; it must be a number of machines, or a share of them such as '10%'."
        for name, least in (("rollout_waves", 1), ("rollout_failures", 0))
        for size in _list(chosen[name])
        if not _is_size(size, least)
    ]
    found += [] if chosen["rollout_waves"] else ["rollout_waves is empty; [1, '100%'] is a canary, and then the rest."]
    found += [
        f"rollout_window has {window!r}; it must be as '22:00-06:00' or 'Sat-Sun 00:00-24:00'."
        for window in chosen["rollout_window"]
        if not WINDOW.fullmatch(str(window))
    ]
    if not str(chosen["rollout_wait"]).isdigit():
        found.append(f"rollout_wait is {chosen['rollout_wait']!r}; it must be a number of minutes.")
    if bool(chosen["rollout_drain_command"]) != bool(chosen["rollout_undrain_command"]):
        found.append("rollout_drain_command and rollout_undrain_command go together; one of them is not set.")
    return found


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, DEFAULTS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(DEFAULTS)}."
    return f"{name} is no setting of a rollout; {hint}"


def _is_size(size: Any, least: int) -> bool:
    share = re.fullmatch(r"(\d+)%", str(size))
    return int(share[1]) <= 100 if share else str(size).isdigit() and int(size) >= least


def _count(size: Any, total: int) -> int:
    """A size as a number of machines; a share is rounded down, as Ansible's ``serial`` does it."""
    return int(size[:-1]) * total // 100 if str(size).endswith("%") else int(size)


def waves(machines: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, Any]) -> list[list[str]]:
    """Return the hosts of ``{host: what gpu_info said}`` wave by wave, in the sizes that ``serial`` would take.

    First those that are named as canaries, last those that are in use: they may be free by then.
    """
    canaries = [host for host in chosen["rollout_canary"] if host in machines]
    others = [host for host in machines if host not in canaries]
    ordered = [*canaries, *sorted(others, key=lambda host: bool(in_use(machines[host])))]
    sizes = list(chosen["rollout_waves"])
    made: list[list[str]] = []
    while ordered:
        size = max(1, _count(sizes[min(len(made), len(sizes) - 1)], len(machines)))
        made.append(ordered[:size])
        ordered = ordered[size:]
    return made


def in_use(gpu: Mapping[str, Any]) -> list[str]:
    """Return who would be interrupted: programs that compute on a GPU, and people who sit at the machine."""
    jobs = [
        f"{process.get('name') or 'process ' + str(process['pid'])} of {process.get('user') or 'somebody'} "
        f"computes on GPU {card.get('index')}"
        for card in gpu.get("gpus") or []
        for process in card.get("processes") or []
        if process["kind"] == "compute"
    ]
    people = [
        f"{session['user']} sits at {session['seat']}" for session in gpu.get("sessions") or [] if session["seat"]
    ]
    return list(dict.fromkeys(jobs + people))


def closed(windows: Sequence[str], now: datetime.datetime) -> str:
    """Return why no wave may begin at this time (the controller's), empty where one may."""
    if not windows or any(_is_open(WINDOW.fullmatch(window), now) for window in windows):
        return ""
    return f"The maintenance window is {', '.join(windows)}, and it is {now:%a %H:%M}."


def _is_open(window: Any, now: datetime.datetime) -> bool:
    time = f"{now:%H:%M}"
    if window["begin"] <= window["end"]:
        return bool(window["begin"] <= time < window["end"] and _is_day(window, now.weekday()))
    # Over midnight: after it, the night belongs to the day it began on.
    return bool(
        (time >= window["begin"] and _is_day(window, now.weekday()))
        or (time < window["end"] and _is_day(window, (now.weekday() - 1) % 7))
    )


def _is_day(window: Any, day: int) -> bool:
    if not window["first"]:
        return True
    first = DAYS.index(window["first"])
    last = DAYS.index(window["last"] or window["first"])
    return (day - first) % 7 <= (last - first) % 7


def stop(
    records: Sequence[Record], chosen: Mapping[str, Any], *, due: int, first: bool, check_mode: bool = False
) -> str:
    """Return why no wave may follow those whose machines have these ``records``, empty where one may.

    ``due`` is how many machines the rollout was to change. The ``first`` wave is the canary: it tolerates no failure,
    and has to prove something. In check mode there is nothing to prove.
    """
    bad = [str(record["host"]) for record in records if status(record) in NEED_A_PERSON]
    if bad and first:
        return f"The first wave tolerates no failure, and {_names(bad)} failed."
    allowed = _count(chosen["rollout_failures"], due)
    if len(bad) > allowed:
        return f"{_names(bad)} failed: that is {len(bad)} of {due} machines, and rollout_failures allows {allowed}."
    if not check_mode and not any(_is_proved(record) for record in records):
        return "Nothing is proved yet: every machine so far was left for later, or waits for a restart."
    return ""


def _is_proved(record: Record) -> bool:
    return not record.get("waits") and status(record) in ("proved", "converged", "as planned")


def _names(hosts: Sequence[str]) -> str:
    return ", ".join(hosts[:3]) + (f" and {len(hosts) - 3} more" if len(hosts) > 3 else "")
