# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rollout decides: the waves, who is in use, when it may run, and when it stops."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.plugin_utils import rollout
from ansible_collections.gpulab.workstation.plugins.plugin_utils.report import report_data
from ansible_collections.gpulab.workstation.plugins.plugin_utils.run_record import run_record

FREE: dict[str, Any] = {"gpus": [], "sessions": []}
WORK = {"pid": 4242, "user": "ada", "name": "python3", "kind": "compute"}
BUSY = {"gpus": [{"index": 0, "processes": [WORK, {**WORK, "kind": "graphics"}]}], "sessions": []}
PLAN = {"refusal": None, "stack": {}}
PROVED = {"host": "a", "plan": PLAN, "proof": {"passed": True}, "proved_now": True}
FAILED = {"host": "b", "plan": PLAN, "failed": {"task": "t", "message": "m"}}
SKIPPED = {"host": "c", "plan": PLAN, "skipped": "It is in use."}
WAITING = {"host": "d", "plan": PLAN, "converged": ["nvidia_driver"], "waits": ["a restart"]}
CHOSEN = rollout.settings({"rollout_failures": "10%"})


@pytest.mark.parametrize(
    ("total", "sizes", "expected"),
    [
        (40, [1, "10%", "50%", "100%"], [1, 4, 20, 15]),
        (3, [1, "10%", "50%", "100%"], [1, 1, 1]),
        (5, [1, 2], [1, 2, 2]),
        (0, [1], []),
    ],
)
def test_waves_have_the_sizes_that_serial_would_take(total: int, sizes: list[Any], expected: list[int]) -> None:
    machines = {f"desk-{number}": FREE for number in range(total)}
    made = rollout.waves(machines, rollout.settings({"rollout_waves": sizes}))
    assert [len(wave) for wave in made] == expected
    assert [host for wave in made for host in wave] == list(machines)


def test_canaries_come_first_and_machines_in_use_last() -> None:
    machines = {"busy": BUSY, "a": FREE, "b": FREE}
    made = rollout.waves(machines, rollout.settings({"rollout_waves": [1], "rollout_canary": "b"}))
    assert made == [["b"], ["a"], ["busy"]]


def test_who_computes_and_who_sits_there_is_named_and_nobody_else() -> None:
    assert rollout.in_use(BUSY) == ["python3 of ada computes on GPU 0"]
    people = [{"user": "ada", "seat": "seat0"}, {"user": "bob", "seat": None}]
    assert rollout.in_use({"gpus": [], "sessions": people}) == ["ada sits at seat0"]
    assert rollout.in_use(FREE) == []


@pytest.mark.parametrize(
    ("window", "time", "is_open"),
    [
        ("22:00-06:00", "2026-11-23 23:00", True),
        ("22:00-06:00", "2026-11-23 05:59", True),
        ("22:00-06:00", "2026-11-23 06:00", False),
        ("Sat-Sun 00:00-24:00", "2026-11-22 23:59", True),
        ("Sat-Sun 00:00-24:00", "2026-11-23 00:00", False),
        ("Fri 22:00-06:00", "2026-11-21 05:00", True),
        ("Fri 22:00-06:00", "2026-11-21 23:00", False),
        ("Sun-Mon 08:00-09:00", "2026-11-23 08:30", True),
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_began(window: str, time: str, is_open: bool) -> None:
    assert (rollout.closed([window], datetime.fromisoformat(time)) == "") is is_open


def test_without_a_window_it_is_always_time() -> None:
    assert rollout.closed([], datetime(2026, 11, 23)) == ""


@pytest.mark.parametrize(
    ("records", "first", "reason"),
    [
        ([PROVED], True, ""),
        ([PROVED, FAILED], True, "The first wave tolerates no failure, and b failed."),
        ([PROVED, FAILED], False, ""),
        ([PROVED, FAILED, FAILED], False, "that is 2 of 19 machines, and rollout_failures allows 1"),
        ([SKIPPED], True, "Nothing is proved yet"),
        ([WAITING], True, "Nothing is proved yet"),
        ([WAITING, PROVED], True, ""),
        ([{**FAILED, "unreachable": True}], True, "tolerates no failure"),
        ([{**FAILED, "rolled_back": "580"}], True, "tolerates no failure"),
    ],
)
def test_a_rollout_stops_where_it_must(records: list[dict[str, Any]], first: bool, reason: str) -> None:
    stopped = rollout.stop(records, CHOSEN, due=19, first=first)
    assert reason in stopped
    assert bool(stopped) == bool(reason)


def test_check_mode_has_nothing_to_prove() -> None:
    assert rollout.stop([SKIPPED], CHOSEN, due=19, first=True, check_mode=True) == ""


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"rollout_wave": [1]}, "did you mean rollout_waves?"),
        ({"rollout_waves": [0]}, "rollout_waves has 0"),
        ({"rollout_waves": []}, "rollout_waves is empty"),
        ({"rollout_waves": ["ten"]}, "rollout_waves has 'ten'"),
        ({"rollout_failures": "200%"}, "rollout_failures has '200%'"),
        ({"rollout_wait": "long"}, "rollout_wait is 'long'"),
        ({"rollout_window": "10pm"}, "rollout_window has '10pm'"),
        ({"rollout_drain_command": "true"}, "go together"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(given: dict[str, Any], answer: str) -> None:
    (problem,) = rollout.problems(given)
    assert answer in problem


@pytest.mark.parametrize(
    ("times", "proof", "turn"),
    [
        ({"start": 1, "plan": 3}, None, None),
        ({"start": 1, "plan": 3, "turn": 10}, None, {"began": 10, "ended": 10}),
        ({"start": 1, "plan": 3, "turn": 10, "wait": 12, "converge": 40}, None, {"began": 10, "ended": 40}),
        # The mark is late, because others of the wave were still training.
        ({"start": 1, "turn": 10, "wait": 12, "prove": 90}, "1970-01-01T00:01:00Z", {"began": 10, "ended": 60}),
        ({"start": 70, "turn": 75, "wait": 80}, "1970-01-01T00:01:00Z", {"began": 75, "ended": 80}),
        ({"start": 1, "turn": 10, "wait": 12, "back": 90}, "1970-01-01T00:01:00Z", {"began": 10, "ended": 90}),
    ],
)
def test_a_turn_ends_with_the_last_thing_that_the_machine_finished(
    times: dict[str, float], proof: str | None, turn: dict[str, float] | None
) -> None:
    stack = {"components": {"cifar10": {"details": {"passed": True, "finished": proof}}} if proof else {}}
    record = run_record({"inventory_hostname": "a", "gpulab_times": times, "gpulab_stack": stack})
    assert record["turn"] == turn


def test_a_wave_shows_its_machines_the_worst_first_and_then_as_they_ended() -> None:
    ends = {"desk-10": 40.0, "desk-2": 40.0, "desk-1": 50.0}
    records = [{**PROVED, "host": host, "turn": {"began": 1.0, "ended": ended}} for host, ended in ends.items()]
    records.append({**FAILED, "turn": {"began": 1.0, "ended": 60.0}})
    records.append({**SKIPPED, "turn": None})
    waves = [{"hosts": [*ends, "b"], "began": "1.0", "ended": "61.5"}, {"hosts": ["c"], "began": 62.0, "ended": None}]
    first, second = report_data(records, waves)["waves"]
    assert [turn["host"] for turn in first["turns"]] == ["b", "desk-2", "desk-10", "desk-1"]
    assert (first["statuses"], first["seconds"]) == ({"failed": 1, "proved": 3}, 60.5)
    assert (second["ended"], second["seconds"]) == (None, None)
    assert second["turns"] == [
        {"host": "c", "status": "skipped", "skipped": "It is in use.", "began": None, "ended": None}
    ]
