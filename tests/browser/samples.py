# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sample records: the machines of tests/fixtures/records, and fleets made up from them."""

from __future__ import annotations

import copy
import json
import pathlib
import random
from typing import Any

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "records"
# What the machines of a made-up room are like: GPU name, architecture, how many, images/s of the proof.
ROOMS = (
    ("ada", "NVIDIA GeForce RTX 4090", 2, 187_000),
    ("turing", "Tesla T4", 1, 41_000),
    ("hopper", "NVIDIA H100 80GB HBM3", 8, 1_310_000),
    ("ampere", "NVIDIA RTX A6000", 4, 243_000),
)


def sample(name: str) -> dict[str, Any]:
    """The record in ``<name>.json``."""
    record: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return record


def fleet(size: int) -> list[dict[str, Any]]:
    """``size`` machines in four rooms: most of them fine, a few that need a person, one slow, one hostile."""
    chance = random.Random(size)
    proved, planned = sample("gpu"), sample("planned")
    machines = [sample(name) for name in ("failed_proof", "failed_task", "refused", "unreachable", "hostile")]
    for number in range(size - len(machines)):
        room, gpu, count, speed = ROOMS[number % len(ROOMS)]
        machine = copy.deepcopy(proved if number % 3 == 0 else planned)
        machine["host"] = f"{room}-{number // len(ROOMS) + 1}"
        card = {**machine["gpu"]["gpus"][0], "name": gpu, "architecture": room, "display_attached": False}
        machine["gpu"]["gpus"] = [{**card, "index": index} for index in range(count)]
        machine["plan"]["summary"] = f"Ubuntu 24.04, x86_64, {f'{count} × ' if count > 1 else ''}{gpu}"
        slow = 0.71 if number == 6 else 1
        machine["proof"]["images_per_s"] = round(speed * slow * chance.uniform(0.97, 1.03), 1)
        machine["proof"]["expected"] = None
        machine["proof"]["accuracy"] = round(chance.uniform(0.731, 0.748), 4)
        if machine["proof"]["telemetry"]:
            series = machine["proof"]["telemetry"]["gpus"][0]
            machine["proof"]["telemetry"]["gpus"] = [{**series, "index": index, "name": gpu} for index in range(count)]
        machines.append(machine)
    return machines


BEGAN = 1_795_730_400.0  # 2026-11-26 22:00 UTC: the first wave of the rollouts that are made up
REASON = "The maintenance window is 22:00-23:10, and it is Thu 23:16."


def rollout(size: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The records of ``size`` machines that were changed, and their waves, of which the last did not begin.

    Every outcome of a turn is there, the canary is fine, and one machine in the second wave is lost.
    """
    chance = random.Random(size)
    records = [record for record in fleet(size) if record["proof"] and record["proof"]["passed"]][: size - 5]
    records += [{**sample("planned"), "host": f"spare-{number}"} for number in range(size - len(records))]
    sizes = [1, max(4, size // 10), size // 2]
    sizes.append(size - sum(sizes))
    began, waves = BEGAN, []
    for position, count in enumerate(sizes):
        machines = [records.pop(0) for _machine in range(count)]
        last = position == len(sizes) - 1
        length = 904.0 + 412 * position
        for number, machine in enumerate(machines):
            outcome = "skipped" if last else OUTCOMES.get((position, number), "proved")
            _take_turn(machine, outcome, began=began, length=length * chance.uniform(0.7, 1))
        hosts = [machine["host"] for machine in machines]
        waves.append({"hosts": hosts, "began": str(began), "ended": None if last else str(began + length)})
        records += machines
        began += length + 5
    return records, waves


# By wave and place in it.
OUTCOMES = {(1, 0): "unreachable", (1, 1): "in use", (2, 2): "failed", (2, 3): "rolled back", (2, 4): "converged"}


def _take_turn(machine: dict[str, Any], outcome: str, *, began: float, length: float) -> None:
    """Make the record of ``machine`` say how its turn came out."""
    fates: dict[str, dict[str, Any]] = {
        "proved": {"proved_now": True, "proof": {**machine["proof"], "passed": True}},
        "converged": {"converged": ["nvidia_driver"], "waits": ["a restart"], "proof": None},
        "skipped": {"skipped": REASON},
        "in use": {"skipped": "It is in use: python3 of ada computes on GPU 0."},
        "failed": {"failed": {"task": "Install", "message": "no room left on /opt"}, "proof": None},
        "rolled back": {"failed": {"task": "Prove", "message": "no GPU is seen"}, "rolled_back": "driver 580.95.05"},
        "unreachable": {"unreachable": True, "failed": {"task": "", "message": "It stopped answering during cuda."}},
    }
    lengths = {"in use": 4.0, "failed": length / 3, "unreachable": length / 2}
    turn = None if outcome == "skipped" else {"began": began, "ended": began + lengths.get(outcome, length)}
    machine.update({"proved_now": False, "turn": turn, **fates[outcome]})


def audited() -> list[dict[str, Any]]:
    """Three machines that an audit looked at; two differ alike."""
    reason = "environment /opt/gpulab/envs/tensorflow was changed by hand"
    drift = [{"component": "tensorflow", "drifted": True, "reasons": [reason]}]
    changed = {**sample("planned"), "drift": drift}
    return [{**changed, "host": "desk-1"}, {**changed, "host": "desk-2"}, {**sample("planned"), "host": "desk-3"}]
