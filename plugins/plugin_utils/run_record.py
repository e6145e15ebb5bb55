# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run knows of one machine, put together for its report."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

# The phases of a run, in their order; a phase's time is up to its own mark from the one before.
PHASES = ("look", "plan", "wait", "converge", "prove")


def run_record(variables: Mapping[str, Any], *, check_mode: bool = False) -> dict[str, Any]:
    """Return the record of one machine from the variables that the playbooks keep of it.

    In check mode nothing converged, whatever ran.
    """
    gpu, stack = (_answer(variables.get(name)) for name in ("gpulab_gpu", "gpulab_stack"))
    times = variables.get("gpulab_times") or {}
    waits = list(variables.get("gpulab_waits") or [])
    # A proof of before says nothing of a driver that waits for its restart.
    proof = None if waits else (((stack or {}).get("components") or {}).get("cifar10") or {}).get("details")
    converged = [] if check_mode else list(variables.get("gpulab_converged") or [])
    failed, lost = variables.get("gpulab_failed"), _lost(variables)
    return {
        "host": variables["inventory_hostname"],
        "gpu": gpu,
        "system": (stack or {}).get("system"),
        "materials": _materials((stack or {}).get("components") or {}),
        "plan": variables.get("gpulab_plan"),
        "drift": variables.get("gpulab_drift") or [],
        "converged": converged,
        "waits": waits,
        "proof": proof,
        "proved_now": _is_of_this_run(proof, times),
        "failed": failed or lost,
        "skipped": str(variables.get("gpulab_skipped") or ""),
        "rolled_back": str(variables.get("gpulab_rolled_back") or ""),
        "unreachable": bool(lost) or any(_silent(variables.get(name)) for name in ("gpulab_gpu", "gpulab_stack")),
        "timings": durations(times),
        "turn": _turn(times, proof),
    }


def _materials(components: Mapping[str, Any]) -> list[dict[str, str]]:
    """What the components are made of, and the files they were fetched as, where the checksum says which."""
    found = [item for component in components.values() for item in component.get("materials") or []]
    downloads = [
        item for component in components.values() for item in (component.get("details") or {}).get("downloads") or []
    ]
    return found + [{"kind": "download", **item} for item in downloads]


def _answer(result: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What a module returned, if it ran."""
    return None if not result or _silent(result) or result.get("skipped") or result.get("failed") else result


def _is_of_this_run(proof: Mapping[str, Any] | None, times: Mapping[str, Any]) -> bool:
    """Whether a proof, which may be one that failed, was made since the run began; both times are the controller's."""
    if not proof or "start" not in times:
        return False
    return _finished(proof) >= float(times["start"])


def _turn(times: Mapping[str, Any], proof: Mapping[str, Any] | None) -> dict[str, float] | None:
    """A machine's turn in a rollout (Unix time in seconds), up to the last thing that it is known to have finished.

    The machines of a wave go step by step together, so that a mark is late where a machine had to wait for others;
    the time at which a proof ended is its own.
    """
    if "turn" not in times:
        return None
    ended = max(map(float, times.values()))
    if proof and _is_of_this_run(proof, times) and "back" not in times:
        ended = _finished(proof)
    return {"began": float(times["turn"]), "ended": ended}


def _finished(proof: Mapping[str, Any]) -> float:
    return datetime.datetime.fromisoformat(proof["finished"]).timestamp()


def _silent(result: Mapping[str, Any] | None) -> bool:
    return bool(result and result.get("unreachable"))


def _lost(variables: Mapping[str, Any]) -> dict[str, str] | None:
    """What is said of a machine that was left by Ansible in the midst of something, which only the unreachable are."""
    under_way = variables.get("gpulab_under_way")
    if not under_way or "gpulab_failed" in variables:
        return None
    return {"task": "", "message": f"It stopped answering during {under_way}."}


def durations(times: Mapping[str, Any]) -> dict[str, float]:
    """Return the seconds that each phase took, from the marks (Unix time in seconds) that were reached."""
    seconds = {}
    before = float(times.get("start", 0))
    for phase in PHASES:
        if phase in times:
            mark = float(times[phase])
            seconds[phase] = round(mark - before, 1)
            before = mark
    return seconds
