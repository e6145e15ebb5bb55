# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a set of packages to what is wanted and keep it there: look, plan, carry out, remember what was before."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Optional, Union

from ansible_collections.gpulab.workstation.plugins.module_utils._files import (
    NotWritten,
    read_text,
    write_all,
    write_text,
)
from ansible_collections.gpulab.workstation.plugins.module_utils._package_managers import Apt, Dnf
from ansible_collections.gpulab.workstation.plugins.module_utils._packages import (
    Found,
    PackageError,
    Plan,
    Request,
    anchor_of,
    matches,
    plan_absent,
    plan_present,
    plan_previous,
)

# A package manager as ``_package_managers`` has them.
Manager = Union[Apt, Dnf]

# Indexes older than this, in seconds, are fetched again before anything is installed.
INDEX_AGE = 6 * 3600


@dataclass(frozen=True)
class Outcome:
    """What changed, or would."""

    changed: bool
    plan: Plan
    previous: Optional[str]
    before: Dict[str, str]
    after: Dict[str, str]
    repaired: List[str]

    def result(self) -> Dict[str, Any]:
        """Return what a module answers with."""
        return {
            "changed": self.changed,
            "version": self.plan.version,
            "previous": self.previous,
            "packages": self.after,
            "install": {**self.plan.install, **dict.fromkeys(self.plan.unknown, "")},
            "remove": self.plan.remove,
            "repaired": self.repaired,
            "diff": {"before": _listing(self.before), "after": _listing(self.after)},
        }


class PackageSet:
    """One set on one machine.

    Args:
        manager: apt or dnf.
        request: What the set should be.
        root: The machine's tree.
    """

    def __init__(self, *, manager: Manager, request: Request, root: str = "/") -> None:
        self._manager = manager
        self._request = request
        self._root = root
        self._memory = os.path.join(root, "var/lib/gpulab/packages", f"{request.name}.json")

    def ensure(self, *, state: str, hold: bool, check: bool, sources_pending: bool = False) -> Outcome:
        """Bring the set to ``state`` (present, absent, previous).

        Raises:
            PackageError: It cannot be done; the message names the cause.
            NotWritten: A file of the set cannot be written.
        """
        previous = self._remembered() if state == "previous" else None
        # What was there before may have had other names: a driver's branch is part of them.
        choices = [sorted(previous["packages"])] if previous else self._request.choices
        self._request = replace(
            self._request,
            stream=previous["stream"] if previous else self._request.stream,
            choices=[[*names, *(self._manager.HOLDS_WITH if hold else ())] for names in choices],
        )
        found = self._manager.find(self._request)
        repaired, trouble = list(found.interrupted), None
        if repaired and not check:
            trouble = self._repair()
            found = self._manager.find(self._request)
        if not check and state == "present" and self._wants_fresh_indexes(found):
            self._manager.refresh()
            found = self._manager.find(self._request)
        plan = self._plan(state, found, sources_pending or (check and not self._manager.indexed()))

        if trouble and not plan.install and not plan.remove:
            raise trouble
        files = self._manager.files(request=self._request, plan=plan, hold=hold and state != "absent")
        stale = {path: text for path, text in files.items() if read_text(path) != text}
        before = self._owned(found)
        switch = self._request.stream != found.stream
        changed = any((repaired, switch, plan.transaction, stale, self._holds_differ(found, hold, state)))
        after = self._only_owned(_predicted(before, plan))
        if changed and not check:
            on_record = read_text(self._memory)
            # Half of an interrupted change is nothing to go back to.
            if before and not repaired and after != before:
                kernels = {name: v for name, v in found.installed.items() if matches(name, self._request.follows)}
                self._remember({**before, **kernels}, found.stream, removed=state == "absent")
            try:
                self._carry_out(plan, stale)
            except (PackageError, NotWritten):
                # A change that never began replaced nothing: the way back is still the one from the change before.
                if self._owned(self._manager.find(self._request)) == before:
                    write_text(self._memory, on_record)
                raise
            after = self._owned(self._manager.find(self._request))
            self._hold(hold and state != "absent", sorted(after))
        anchor = anchor_of(self._request.anchor, before)
        return Outcome(
            changed=changed,
            plan=plan,
            previous=before[anchor] if anchor else None,
            before=before,
            after=after,
            repaired=repaired,
        )

    def replaced(self) -> Dict[str, str]:
        """Return the packages that the set took the place of, with their versions; none where they had been removed."""
        memory = self._remembered() if os.path.exists(self._memory) else {}
        return {} if memory.get("removed") else memory.get("packages", {})

    def _plan(self, state: str, found: Found, sources_pending: bool) -> Plan:
        if state == "absent":
            return plan_absent(request=self._request, found=found)
        if state == "previous":
            return plan_previous(previous=self._remembered()["packages"], request=self._request, found=found)
        return plan_present(request=self._request, found=found, sources_pending=sources_pending)

    def _repair(self) -> Optional[PackageError]:
        """Finish what was interrupted; what cannot be finished may yet be replaced, so the error is handed back."""
        try:
            self._manager.repair()
        except PackageError as error:
            return error
        return None

    def _carry_out(self, plan: Plan, files: Dict[str, Optional[str]]) -> None:
        # The pins come first: they are what makes the dependencies of a downgrade agree.
        before = write_all(files)
        try:
            self._manager.apply(request=self._request, plan=plan)
        except (PackageError, NotWritten):
            write_all(before)
            raise

    def _hold(self, hold: bool, names: List[str]) -> None:
        if names:
            (self._manager.hold if hold else self._manager.release)(names)

    def _holds_differ(self, found: Found, hold: bool, state: str) -> bool:
        owned, held = set(self._owned(found)), set(found.held)
        return state != "absent" and (bool(owned - held) if hold else bool(owned & held))

    def _owned(self, found: Found) -> Dict[str, str]:
        return self._only_owned(found.installed)

    def _only_owned(self, packages: Mapping[str, str]) -> Dict[str, str]:
        return {name: version for name, version in packages.items() if matches(name, self._request.owned)}

    def _remember(self, packages: Dict[str, str], stream: str, *, removed: bool) -> None:
        memory = {"packages": packages, "stream": stream, "removed": removed}
        write_text(self._memory, json.dumps(memory, indent=2, sort_keys=True) + "\n")

    def _remembered(self) -> Dict[str, Any]:
        text = read_text(self._memory)
        if text is None:
            raise PackageError(f"There is no previous version of {self._request.name} on record to go back to.")
        return json.loads(text)

    def _wants_fresh_indexes(self, found: Found) -> bool:
        """Return whether something is missing that old indexes may hide: a machine that is as wanted asks no server."""
        try:
            if not plan_present(request=self._request, found=found).install:
                return False
        except PackageError:
            return True
        lists = os.path.join(self._root, "var/lib/apt/lists")
        return os.path.isdir(lists) and time.time() - os.path.getmtime(lists) > INDEX_AGE


def _predicted(before: Dict[str, str], plan: Plan) -> Dict[str, str]:
    after = {name: version for name, version in before.items() if name not in plan.remove}
    return {**after, **plan.install, **dict.fromkeys(plan.unknown, "")}


def _listing(packages: Dict[str, str]) -> str:
    return "".join(f"{name} {version}\n" for name, version in sorted(packages.items()))
