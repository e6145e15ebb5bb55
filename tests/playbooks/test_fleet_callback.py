"""The fleet callback with the rollout as it is: on a terminal, without one, and when something goes wrong."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest
from support.stand_in_lab import Lab
from support.terminal import Terminal

RULE = re.compile(r"^── .*$", re.MULTILINE)
ESCAPE = "\x1b"


def labelled(tmp_path: Path, machines: int) -> Lab:
    lab = Lab(tmp_path, *(f"desk-{number}" for number in range(1, machines + 1)))
    lab.variables = {"ANSIBLE_STDOUT_CALLBACK": "gpulab.workstation.fleet"}
    return lab


def waves(*sizes: object) -> tuple[str, str]:
    return "-e", json.dumps({"rollout_waves": sizes, "rollout_failures": 2})


def test_on_a_terminal_one_table_is_redrawn_in_place_and_gone_at_the_end(tmp_path: Path) -> None:
    lab = labelled(tmp_path, 3)
    lab.variables["ANSIBLE_LOG_PATH"] = str(tmp_path / "log")
    lab.change("desk-2", trouble={"tensorflow": "no room left"})
    terminal = Terminal(lab.command("rollout", *waves(1, 2)), cwd=lab.folder, env=lab.environment())
    tables: list[str] = []

    def seen(screen: str) -> None:
        rules = RULE.findall(screen)
        assert len(rules) <= 1, screen
        if rules:
            tables.append(screen[screen.index(rules[0]) :])

    assert terminal.watch(seen) == 2
    screen = terminal.screen.text
    for expected in (
        r"wave 1 +░+ 0 of 1\n  wave 2 +2 to come\n    desk-1 +os_prep +░+ 0/4",
        r"wave 2 +░+ 0 of 2\n    desk-2 +failing +no room left\n    desk-3 +tensorflow +█████░+ 2/4",
        r"wave 2 +█+░* [12] of 2 +1 failed",
    ):
        assert any(re.search(expected, table) for table in tables), (expected, tables)
    assert "── " not in screen
    # What the playbooks show stands whole above the table, and nothing of Ansible's own.
    assert "\nWave 2 of 2: desk-2, desk-3\n" in screen
    assert re.search(r"^to do +\[desk-2\] .*no room left", screen, re.MULTILINE)
    assert not re.search("TASK|RECAP|fatal|ok:|FAILED", screen)
    assert terminal.modes_are_as_before()
    # The log has the lines that there would be without a terminal.
    log = (tmp_path / "log").read_text()
    assert "failed: desk-2. no room left" in log
    assert "wave 2" not in log


def test_a_run_of_forty_that_is_killed_leaves_a_small_terminal_as_it_was(tmp_path: Path) -> None:
    lab = labelled(tmp_path, 40)
    command = lab.command("rollout", *waves(20))
    terminal = Terminal(command, cwd=lab.folder, env=lab.environment(), columns=46, lines=12)

    def seen(screen: str) -> bool:
        rules = RULE.findall(screen)
        assert len(rules) <= 1, screen
        return bool(rules and re.search(r"^ {4}desk-\d+ +os_prep", screen, re.MULTILINE) and "and 1" in screen)

    assert terminal.watch(seen) == -1
    os.killpg(terminal.process.pid, signal.SIGKILL)
    terminal.process.wait()
    table = terminal.screen.text[terminal.screen.text.index("── ") :].splitlines()
    assert len(table) <= 11
    assert all(len(line) < 46 for line in table)
    assert table[-1].startswith("  … and ")
    # Strict as it is, the screen has seen no mode changed and no cursor hidden; a prompt comes on a line of its own.
    assert terminal.screen.column == 0
    assert terminal.screen.rows[terminal.screen.row] == ""
    assert terminal.modes_are_as_before()


def interrupted(folder: Path) -> tuple[int, Terminal]:
    """Interrupt a run on its first role; return its exit code and what was to be seen."""
    folder.mkdir()
    lab = labelled(folder, 1)
    terminal = Terminal(lab.command("rollout"), cwd=lab.folder, env=lab.environment())
    assert terminal.watch(lambda screen: "desk-1  os_prep" in screen) == -1
    os.kill(terminal.process.pid, signal.SIGINT)
    return terminal.watch(), terminal


def test_a_run_that_is_interrupted_ends_with_its_last_table(tmp_path: Path) -> None:
    # Python loses an interrupt that comes while it forks, and says so: then nothing was interrupted.
    for attempt in "12345":
        code, terminal = interrupted(tmp_path / attempt)
        if "Exception ignored in" not in terminal.screen.text:
            break
    assert code != 0
    screen = terminal.screen.text
    assert "User interrupted execution" in screen
    assert len(RULE.findall(screen)) == 1
    assert screen.rindex("── ") > screen.index("User interrupted execution")
    assert terminal.screen.column == 0
    assert terminal.modes_are_as_before()


def test_without_a_terminal_there_is_a_line_for_each_change_of_state_and_no_flood(tmp_path: Path) -> None:
    lab = labelled(tmp_path, 3)
    lab.change("desk-2", trouble={"tensorflow": "no room left"})
    run = lab.play("rollout", *waves(1, 2))
    assert run.code == 2
    assert ESCAPE not in run.said
    told = re.findall(r"^\d\d:\d\d:\d\d  (.*)$", run.said, re.MULTILINE)
    assert told[0] == "to change: desk-1, desk-2, desk-3"
    steps = ["to change", "checks", "os_prep", "anaconda", "tensorflow"]
    for host, ending in {"desk-1": ["cifar10", "proved"], "desk-2": ["failing", "failed"]}.items():
        states = [line.partition(":")[0] for line in told if re.search(rf"\b{host}\b", line)]
        assert states == [*steps, *ending]
    assert len(told) <= 24
    assert not re.search("TASK|RECAP|fatal|── ", run.said)
    assert re.search(r"^to do +\[desk-2\] .*no room left", run.said, re.MULTILINE)


def test_with_verbosity_everything_is_told_as_well(tmp_path: Path) -> None:
    lab = labelled(tmp_path, 1)
    run = lab.play("rollout", "-v")
    assert run.code == 0, run.said
    assert "TASK [Look at the GPUs]" in run.said
    assert re.search(r"^\d\d:\d\d:\d\d  proved: desk-1$", run.said, re.MULTILINE)
    assert run.recap("desk-1")["failed"] == 0


def test_in_check_mode_it_says_what_would_change(tmp_path: Path) -> None:
    lab = labelled(tmp_path, 2)
    run = lab.play("rollout", "--check", "--diff", *waves(2))
    assert run.code == 0, run.said
    assert re.search(r"^\d\d:\d\d:\d\d  would change: desk-1, desk-2$", run.said, re.MULTILINE)
    assert "check mode    nothing was changed" in run.said
    assert run.said.count("+os_prep") == 2


def test_an_error_that_no_report_tells_is_shown_as_ansible_shows_it(tmp_path: Path) -> None:
    lab = labelled(tmp_path, 2)
    run = lab.play("rollout", "-e", "rollout_wave=1")
    assert run.code != 0
    assert run.said.count("did you mean rollout_waves?") >= 1
    assert "TASK [Check what the inventory says of the rollout]" in run.said
    assert "The run ended before its report." in run.said


@pytest.mark.parametrize("playbook", ["plan", "audit"])
def test_other_playbooks_look_as_they_always_do(tmp_path: Path, playbook: str) -> None:
    lab = labelled(tmp_path, 1)
    said = lab.play(playbook).said
    assert "TASK [Look at the GPUs]" in said
    assert "PLAY RECAP" in said
    assert not re.search(r"^\d\d:\d\d:\d\d  ", said, re.MULTILINE)
