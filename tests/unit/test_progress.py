# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run stands while it goes: the words, the lines and the table; and the table's place on a terminal."""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.plugin_utils.footer import Footer
from ansible_collections.gpulab.workstation.plugins.plugin_utils.progress import Progress
from support.terminal import Screen

CHECKOUT = Path(__file__).parents[2]
FAILED = {"gpulab_failed": {"task": "Install", "message": "no room\nleft"}}
DRIFT = [{"component": name, "drifted": name != "os_prep"} for name in ("os_prep", "tensorflow", "cifar10")]


def told(progress: Progress) -> list[str]:
    return [row.text for row in progress.news()]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([{"gpulab_drift": DRIFT}], "to change"),
        ([{"gpulab_drift": []}], "as planned"),
        ([{"gpulab_changing": ["cifar10"]}], "to change"),
        ([{"gpulab_skipped": "It is in use."}], "skipped"),
        ([{"gpulab_skipped": ""}], "looking"),
        ([{"gpulab_under_way": "the checks before the first change"}], "checks"),
        ([{"gpulab_under_way": "cuda"}], "cuda"),
        ([{"gpulab_converged": ["cifar10"]}, {"gpulab_under_way": ""}], "proved"),
        ([{"gpulab_converged": ["cuda"]}, {"gpulab_under_way": ""}], "converged"),
        ([{"gpulab_waits": ["a restart"], "gpulab_converged": ["cifar10"]}, {"gpulab_under_way": ""}], "converged"),
        ([FAILED, {"gpulab_under_way": ""}], "failed"),
        ([FAILED, {**FAILED, "gpulab_rolled_back": "driver 580"}], "rolled back"),
        ([{**FAILED, "gpulab_rolled_back": ""}], "failed"),
        # What is planned of a machine that did not answer is nothing.
        ([FAILED, {"gpulab_changing": []}], "failed"),
    ],
)
def test_the_facts_of_the_playbooks_come_down_to_one_word(facts: list[dict[str, Any]], expected: str) -> None:
    progress = Progress()
    for found in facts:
        progress.learn("desk-1", found)
    assert progress.machines["desk-1"].state == expected


def test_in_check_mode_a_machine_would_change() -> None:
    progress = Progress(check_mode=True)
    progress.learn("desk-1", {"gpulab_under_way": "", "gpulab_converged": ["cifar10"]})
    assert told(progress) == ["would change: desk-1"]


def test_a_line_holds_all_machines_that_changed_alike_and_is_told_once() -> None:
    progress = Progress()
    for number in range(1, 7):
        progress.learn(f"desk-{number}", {"gpulab_drift": DRIFT})
    progress.learn("desk-7", FAILED)
    assert told(progress) == [
        "to change: desk-1, desk-2, desk-3, desk-4 and 2 more",
        "failed: desk-7. no room left",
    ]
    progress.learn("desk-1", {"gpulab_drift": DRIFT})
    assert told(progress) == []


def test_a_line_has_its_machines_in_the_order_of_the_inventory_whichever_was_ready_first() -> None:
    progress = Progress()
    for host in ("desk-1", "desk-2"):
        progress.see(host)
    for host in ("desk-2", "desk-1"):
        progress.learn(host, {"gpulab_drift": DRIFT})
    assert told(progress) == ["to change: desk-1, desk-2"]


def test_machines_with_the_same_cause_share_a_line_though_it_names_each() -> None:
    progress = Progress()
    for host in ("desk-1", "desk-2"):
        progress.learn(host, {"gpulab_failed": {"message": f"{host}: no room left"}})
    assert told(progress) == ["failed: desk-1, desk-2. no room left"]


def test_a_failure_is_news_at_once_and_forgotten_when_it_is_rescued() -> None:
    progress = Progress()
    progress.learn("desk-1", {"gpulab_under_way": "cuda"})
    progress.fail("desk-1", "a lock is held")
    assert told(progress) == ["failing: desk-1. a lock is held"]
    progress.see("desk-1")
    assert progress.machines["desk-1"].state == "cuda"
    assert told(progress) == []


def test_what_a_machine_says_cannot_move_the_cursor() -> None:
    progress = Progress()
    progress.learn("desk\x1b[2J", {"gpulab_failed": {"message": "\x1b[31mred\r"}})
    progress.learn("desk-2", {"gpulab_under_way": "os_prep"})
    rows = [*progress.table(width=80, height=20), *progress.news()]
    assert not any("\x1b" in row.text or "\r" in row.text for row in rows)


def a_lab(machines: int) -> Progress:
    """A lab in its third wave of ten machines each: one machine failed, one is in use, the others are at work."""
    progress = Progress()
    hosts = [f"desk-{number}" for number in range(machines)]
    waves = [hosts[start : start + 10] for start in range(0, machines, 10)]
    for host in hosts:
        progress.learn(host, {"gpulab_drift": DRIFT})
    progress.learn(hosts[0], {"gpulab_waves": waves})
    for wave in waves[:3]:
        progress.learn(hosts[0], {"gpulab_wave_began": 1.0, "gpulab_stopped": ""})
        for host in wave:
            progress.learn(host, {"gpulab_under_way": "tensorflow"})
    for host in hosts[:20]:
        progress.learn(host, {"gpulab_converged": ["tensorflow", "cifar10"]})
        progress.learn(host, {"gpulab_under_way": ""})
    progress.learn("desk-21", {"gpulab_converged": ["tensorflow"]})
    progress.learn("desk-21", {"gpulab_under_way": "cifar10"})
    progress.learn("desk-24", {"gpulab_skipped": "It is in use: ada sits at seat0."})
    progress.learn("desk-25", FAILED)
    progress.learn(hosts[0], {"gpulab_wave_began": 9.0, "gpulab_stopped": "It is late."})
    return progress


@pytest.mark.parametrize("machines", [40, 400])
@pytest.mark.parametrize(("width", "height"), [(100, 24), (40, 10), (100, 2), (20, 1)])
def test_a_table_fits_its_terminal(machines: int, width: int, height: int) -> None:
    rows = [row.text for row in a_lab(machines).table(width=width, height=height)]
    assert 0 < len(rows) <= height
    assert all(len(row) <= width for row in rows)
    assert rows[0].startswith(f"── 22 of {machines}"[:width])


def test_a_table_shows_the_waves_around_the_one_under_way_and_first_who_failed() -> None:
    rows = [row.text for row in a_lab(400).table(width=80, height=12)]
    assert rows[0] == "── 22 of 400 machines done · 1 failed, 1 skipped, 20 proved ".ljust(80, "─")
    assert rows[1:5] == [
        "  wave 2   ██████████ 10 of 10  10 proved",
        "  wave 3   ██░░░░░░░░ 2 of 10  1 failed, 1 skipped",
        "  wave 4   10 to come",
        "  wave 5   10 to come",
    ]
    assert rows[5] == "    desk-25  failed        no room left"
    assert rows[6] == "    desk-20  tensorflow    ░░░░░░░░░░ 0/2"
    assert rows[-1] == "  … and 3 more"
    assert len(rows) == 12


def test_the_document_shows_a_table_and_lines_as_they_are() -> None:
    progress = a_lab(40)
    table = "\n".join(row.text for row in progress.table(width=84, height=11))
    document = (CHECKOUT / "docs" / "rollout.md").read_text(encoding="utf-8")
    assert f"```text\n{table}\n```" in document
    shown = re.findall(r"^\d\d:\d\d:\d\d  (.*)$", document, re.MULTILINE)
    assert len(shown) == 3
    assert set(shown) <= set(told(progress))


class Sink(io.StringIO):
    """Takes what is sent to a terminal."""

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return 1


def installed(monkeypatch: pytest.MonkeyPatch) -> Footer:
    """A footer at work. No fixture: pytest changes sys.stdout between a fixture and its test."""
    monkeypatch.setattr(sys, "stdout", Sink())
    monkeypatch.setattr(sys, "stderr", Sink())
    monkeypatch.setattr(os, "get_terminal_size", lambda _number: os.terminal_size((20, 10)))
    made = Footer()
    made.install()
    return made


def on_screen(stream: Any, columns: int = 20) -> str:
    screen = Screen(columns, 10)
    screen.feed(stream.getvalue().replace("\n", "\r\n"))
    return screen.text


def test_a_footer_stays_under_what_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    footer = installed(monkeypatch)
    stream = footer._out
    footer.show([("one", 3), ("two", 3)])
    print("first")
    print("second")
    assert on_screen(stream) == "first\nsecond\none\ntwo\n"
    footer.show([("three", 5)])
    print("third")
    assert on_screen(stream) == "first\nsecond\nthird\nthree\n"
    footer.remove()
    assert on_screen(stream) == "first\nsecond\nthird\n"
    assert sys.stdout is stream


def test_a_footer_waits_for_the_answer_to_a_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    footer = installed(monkeypatch)
    stream = footer._out
    footer.show([("one", 3)])
    print("Go on? ", end="")
    assert on_screen(stream) == "Go on?"
    stream.write("y\n")  # the terminal's own echo
    print("It goes on.")
    assert on_screen(stream) == "Go on? y\nIt goes on.\none\n"


def test_a_footer_is_erased_before_an_error_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    footer = installed(monkeypatch)
    footer.show([("one", 3)])
    print("first")
    before = footer._out.getvalue()
    print("trouble", file=sys.stderr)
    assert footer._error.getvalue() == "trouble\n"
    assert footer._out.getvalue() == before + "\x1b[1A\x1b[J" + "one\n"


def test_a_footer_that_a_narrower_terminal_has_wrapped_is_erased_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    footer = installed(monkeypatch)
    footer.show([("x" * 18, 18)])
    print("first")
    monkeypatch.setattr(os, "get_terminal_size", lambda _number: os.terminal_size((10, 10)))
    footer.show([("small", 5)])
    print("second")
    assert on_screen(footer._out, columns=10) == "first\nsecond\nsmall\n"
