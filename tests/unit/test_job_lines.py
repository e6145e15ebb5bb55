# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people see while a job runs."""

from __future__ import annotations

from ansible_collections.gpulab.workstation.plugins.module_utils._job_lines import Lines, epoch_line


def look(*events: dict, last_line: str = "", live: dict | None = None) -> dict:
    return {"events": list(events), "last_line": last_line, "live": live}


def epoch(number: int, **values: float) -> dict:
    return {"event": "epoch", "epoch": number, "epochs": 9, **values}


def test_an_epoch_is_shown_with_the_gpus_as_they_are():
    live = {"gpus": [{"index": 0, "utilization": 98, "temperature_c": 61, "power_w": 412.3}]}
    line = epoch_line({"event": "epoch", "epoch": 4, "epochs": 10, "accuracy": 0.61}, live)
    assert line == "epoch 4/10  acc 0.610  gpu 0 98 % 61 °C 412 W"


def test_what_is_not_known_is_left_out():
    assert epoch_line(epoch(1, loss=None), {"gpus": [{"index": 1, "power_w": None}]}) == "epoch 1/9  gpu 1"


def test_of_several_epochs_the_newest_is_shown():
    assert Lines().of(look(epoch(1), epoch(2), epoch(3))) == ["epoch 3/9"]


def test_messages_are_shown_in_their_order():
    said = Lines().of(look({"event": "start", "message": "begins"}, epoch(1), {"event": "end", "message": "done"}))
    assert said == ["begins", "epoch 1/9", "done"]


def test_marks_are_not_shown():
    assert Lines().of(look({"event": "mark", "mark": "steps", "edge": "begin"})) == []


def test_output_is_shown_only_of_a_job_that_writes_no_events():
    lines = Lines()
    assert lines.of(look(last_line="step 1")) == ["step 1"]
    assert lines.of(look(epoch(1), last_line="step 2")) == ["epoch 1/9"]
    assert lines.of(look(last_line="step 3")) == []


def test_the_same_line_is_not_shown_twice():
    lines = Lines()
    assert lines.of(look(last_line="waiting")) == ["waiting"]
    assert lines.of(look(last_line="waiting")) == []
