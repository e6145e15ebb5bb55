# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run stands while it goes: what became of its machines so far, as a table or as lines.

Pure: it learns from the facts that the playbooks set anyhow, and is given the time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils.report_machine import NEED_A_PERSON, STATUSES, status
from ansible_collections.gpulab.workstation.plugins.plugin_utils.terminal import harmless

LOOKING, TO_CHANGE, WOULD_CHANGE, FAILING = "looking", "to change", "would change", "failing"
# What playbooks/tasks say is under way, in a word where it is no component.
STEPS = {"the checks before the first change": "checks", "the way back": "putting back"}
OUTCOMES = {*STATUSES, WOULD_CHANGE}
BAD = (*NEED_A_PERSON, FAILING)
BAR = 10
WAVES = 4  # waves that a table shows: the last one done, the one under way, and what comes
NAMES = 4  # machines that a line names


@dataclasses.dataclass
class Machine:
    """One machine: the word for its state, what there is to say of it, and of how many steps how many are done."""

    state: str = LOOKING
    note: str = ""
    steps: int = 0
    done: int = 0
    components: tuple[str, ...] = ()
    waits: bool = False
    before: tuple[str, str] = ("", "")  # state and note before the failure that may yet be rescued


@dataclasses.dataclass
class Row:
    """A line of the table, and the word by which it is coloured; empty for none."""

    text: str
    state: str = ""


class Progress:
    """The machines of a run and the waves they go in, from what is learned of them one by one."""

    def __init__(self, *, check_mode: bool = False) -> None:
        self.machines: dict[str, Machine] = {}
        self.waves: list[list[str]] = []
        self.begun = 0  # waves that have begun
        self.reported = False
        self._check_mode = check_mode
        self._changed: set[str] = set()

    def see(self, host: str) -> None:
        """A task begins on this machine, so that what failed there before has been rescued."""
        machine = self.machines.setdefault(host, Machine())
        if machine.state == FAILING:
            machine.state, machine.note = machine.before
            self._changed.discard(host)

    def learn(self, host: str, facts: Mapping[str, Any]) -> None:
        """Take note of the facts that a task has set for ``host``."""
        machine = self.machines.setdefault(host, Machine())
        if "gpulab_waves" in facts:
            self.waves, self.begun = [list(wave) for wave in facts["gpulab_waves"]], 0
        if "gpulab_wave_began" in facts and not facts.get("gpulab_stopped"):
            self.begun += 1
        if "gpulab_records" in facts:
            self._report(facts["gpulab_records"])
        machine.waits = bool(facts.get("gpulab_waits", machine.waits))
        machine.components = tuple(facts.get("gpulab_converged", machine.components))
        machine.done = len(machine.components)
        if failed := facts.get("gpulab_failed"):
            self._set(host, "rolled back" if facts.get("gpulab_rolled_back") else "failed", failed["message"])
        elif facts.get("gpulab_skipped"):
            self._set(host, "skipped", facts["gpulab_skipped"])
        elif machine.state not in NEED_A_PERSON:
            self._learn_steps(host, machine, facts)

    def _learn_steps(self, host: str, machine: Machine, facts: Mapping[str, Any]) -> None:
        changing = facts.get("gpulab_changing")
        if "gpulab_drift" in facts:
            changing = [item for item in facts["gpulab_drift"] if item["drifted"]]
        if changing is not None:
            machine.steps = len(changing)
            self._set(host, TO_CHANGE if changing else "as planned")
        if step := facts.get("gpulab_under_way"):
            self._set(host, STEPS.get(step, step))
        elif "gpulab_under_way" in facts:
            proved = "proved" if "cifar10" in machine.components and not machine.waits else "converged"
            self._set(
                host, WOULD_CHANGE if self._check_mode else proved, "waits for a restart" if machine.waits else ""
            )

    def fail(self, host: str, message: str) -> None:
        """A task failed. Whether that is the end of it is known later, when the others are through."""
        machine = self.machines.setdefault(host, Machine())
        if machine.state not in OUTCOMES:
            machine.before = (machine.state, machine.note)
            self._set(host, FAILING, message)

    def lose(self, host: str, message: str) -> None:
        """Ansible goes on without ``host``."""
        self._set(host, "unreachable", message)

    def _report(self, records: Iterable[Mapping[str, Any]]) -> None:
        """The report's own words, which are shown anyway: they are no change."""
        self.reported = True
        for record in records:
            machine = self.machines.setdefault(str(record["host"]), Machine())
            machine.state = machine.state if machine.state == WOULD_CHANGE else status(dict(record))

    def _set(self, host: str, state: str, note: str = "") -> None:
        machine = self.machines.setdefault(host, Machine(state=""))
        # A message may begin with the machine's name, which is told beside it.
        note = " ".join(harmless(note).split()).removeprefix(f"{host}: ")
        if (machine.state, machine.note) != (state, note):
            machine.state, machine.note = state, note
            self._changed.add(host)

    def news(self) -> list[Row]:
        """What changed since this was asked last: a line for each state, with the machines that are in it now."""
        groups: dict[tuple[str, str], list[str]] = {}
        for host in filter(self._changed.__contains__, self.machines):  # in the order of the inventory
            groups.setdefault((self.machines[host].state, self.machines[host].note), []).append(host)
        self._changed = set()
        return [
            Row(f"{state}: {_names(hosts)}{f'. {note}' if note else ''}", state)
            for (state, note), hosts in groups.items()
        ]

    def unfinished(self) -> list[Row]:
        """What there is to say at the end of a run that came to no report."""
        bad = [(host, machine) for host, machine in self.machines.items() if machine.state in NEED_A_PERSON]
        rows = [Row(f"{host}: {machine.state}. {machine.note}", machine.state) for host, machine in bad]
        return [*rows, Row("The run ended before its report. Run again: it goes on with what is left.", "failed")]

    def table(self, *, width: int, height: int) -> list[Row]:
        """The run in at most ``height`` lines of at most ``width`` columns: the sum, the waves, and the machines that
        failed or that something is done to.
        """
        rows = [self._sum(width), *self._wave_rows(width)][: max(1, height)]
        shown = [host for host, machine in self.machines.items() if machine.state in BAD]
        shown += [host for host, machine in self.machines.items() if _is_working(machine) and host not in shown]
        room = height - len(rows)
        if len(shown) > room:
            shown, more = shown[: max(0, room - 1)], len(shown) - max(0, room - 1)
        else:
            more = 0
        longest = max((len(host) for host in shown), default=0)
        rows += [self._machine_row(host, min(longest, 24)) for host in shown]
        if more and room > 0:
            rows.append(Row(f"  … and {more} more"))
        return [Row(_clipped(row.text, width), row.state) for row in rows]

    def _sum(self, width: int) -> Row:
        ended = sum(machine.state in OUTCOMES for machine in self.machines.values())
        counts = _counts(self.machines.values())
        text = f"── {ended} of {len(self.machines)} machines done{f' · {counts}' if counts else ''} "
        return Row(text.ljust(width, "─"), "failed" if self._bad() else "")

    def _bad(self) -> bool:
        return any(machine.state in BAD for machine in self.machines.values())

    def _wave_rows(self, width: int) -> list[Row]:
        first = min(max(0, self.begun - 2), max(0, len(self.waves) - WAVES))
        numbered = list(enumerate(self.waves, start=1))[first : first + WAVES]
        return [self._wave_row(number, wave, width) for number, wave in numbered]

    def _wave_row(self, number: int, wave: Sequence[str], width: int) -> Row:
        machines = [self.machines.setdefault(host, Machine()) for host in wave]
        ended = sum(machine.state in OUTCOMES for machine in machines)
        drawn = f"{_bar(ended, len(wave))} " if width >= 60 else ""
        progress = f"{drawn}{ended} of {len(wave)}" if ended or number <= self.begun else f"{len(wave)} to come"
        counts = _counts(machines)
        return Row(f"  wave {number:<3} {progress}{f'  {counts}' if counts else ''}")

    def _machine_row(self, host: str, longest: int) -> Row:
        machine = self.machines[host]
        bad = machine.state in BAD
        steps = (
            "" if bad or not machine.steps else f"{_bar(machine.done, machine.steps)} {machine.done}/{machine.steps}"
        )
        text = f"    {harmless(host):<{longest}}  {machine.state:<13} {steps or machine.note}"
        return Row(text.rstrip(), machine.state if bad else "")


def _is_working(machine: Machine) -> bool:
    return machine.state not in OUTCOMES and machine.state not in (LOOKING, TO_CHANGE)


def _counts(machines: Iterable[Machine]) -> str:
    """How many have which outcome, the worst first."""
    states = [machine.state for machine in machines]
    found = [(states.count(state), state) for state in (*STATUSES, WOULD_CHANGE) if state in states]
    return ", ".join(f"{count} {state}" for count, state in found)


def _bar(done: int, total: int) -> str:
    full = BAR * done // total if total else 0
    return "█" * full + "░" * (BAR - full)


def _names(hosts: Sequence[str]) -> str:
    more = len(hosts) - NAMES
    return harmless(", ".join(hosts[:NAMES])) + (f" and {more} more" if more > 0 else "")


def _clipped(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
