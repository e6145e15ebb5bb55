# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet
type: stdout
short_description: Show the waves of a rollout and how its machines stand
version_added: "1.0.0"
description:
  - Shows C(rollout) and C(site) as a table of waves and machines that is redrawn in place while the run goes.
  - Where there is no terminal (a log file, CI) it writes one line for each change of state instead, with all
    machines that it holds for. C(ANSIBLE_LOG_PATH) gets these lines in either case.
  - What the playbooks show themselves, differences with C(--diff), prompts, warnings and the progress of long jobs
    appear above the table as they do without it.
  - A failure that the playbooks keep for their report is told there, with the way out. Any other is shown as Ansible
    shows it, when the run ends.
  - With C(-v) everything that P(ansible.builtin.default#callback) shows is shown too. Plays that are not of this
    collection's C(rollout) and C(site) look as they always do.
  - The terminal's cursor is never hidden and no mode of it is changed, so a run that is killed leaves nothing to mend.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
requirements:
  - Set it as the stdout callback, with C(ANSIBLE_STDOUT_CALLBACK=gpulab.workstation.fleet) or C(stdout_callback) in
    ansible.cfg.
seealso:
  - plugin: ansible.builtin.default
    plugin_type: callback
author:
  - The gpulab.workstation authors (@gpulab)
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible import context
from ansible.plugins.callback.default import CallbackModule as Default
from ansible.utils.color import stringc
from ansible_collections.gpulab.workstation.plugins.plugin_utils.footer import Footer
from ansible_collections.gpulab.workstation.plugins.plugin_utils.progress import Progress, Row

FOLDER = Path(__file__).resolve().parents[2] / "playbooks"
PLAYBOOKS = {FOLDER / f"{name}.yml" for name in ("rollout", "site")}
FAIL = FOLDER / "tasks" / "fail.yml"  # fails once more for the exit code, when all is told
BANNERS = ("display_ok_hosts", "display_skipped_hosts")
COLOURS = {
    "failed": C.COLOR_ERROR,
    "failing": C.COLOR_ERROR,
    "unreachable": C.COLOR_UNREACHABLE,
    "rolled back": C.COLOR_ERROR,
    "refused": C.COLOR_ERROR,
    "skipped": C.COLOR_SKIP,
    "proved": C.COLOR_OK,
    "converged": C.COLOR_CHANGED,
    "would change": C.COLOR_CHANGED,
    "as planned": C.COLOR_OK,
}


class CallbackModule(Default):
    """Ansible's own output, quiet in the plays that it knows, with the state of their machines instead."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "gpulab.workstation.fleet"

    def __init__(self) -> None:
        super().__init__()
        self._progress = Progress()
        self._footer: Footer | None = None
        self._known = False  # whether the play is one whose machines' states are known
        self._held: list[tuple[Callable[[Any], None], Any]] = []  # failures that may yet be rescued

    @property
    def _quiet(self) -> bool:
        return self._known and not self._display.verbosity

    def set_options(self, task_keys: Any = None, var_options: Any = None, direct: Any = None) -> None:
        super().set_options(task_keys=task_keys, var_options=var_options, direct=direct)
        self._chosen = {name: self.get_option(name) for name in BANNERS}

    # ---- what is learned, and how it is shown

    def _learn(self, result: Any) -> None:
        if not self._known or result.task.action not in ("ansible.builtin.set_fact", "set_fact"):
            return
        host, facts = result.host.get_name(), result.result.get("ansible_facts") or {}
        self._progress.learn(host, facts)
        if "gpulab_failed" in facts:  # it was rescued, and goes into the report
            self._held = [held for held in self._held if held[1].host.get_name() != host]
        self._redraw()

    def _redraw(self) -> None:
        if self._footer is None:
            return
        columns, lines = self._footer.size()
        rows = self._progress.table(width=columns - 1, height=max(1, min(lines - 2, 24)))
        self._footer.show([(_coloured(row), len(row.text)) for row in rows])
        self._display.display("", screen_only=True, newline=False)

    def _tell(self) -> None:
        """The news as lines; beside a table they are for the log alone."""
        for row in self._progress.news():
            line = f"{time.strftime('%H:%M:%S')}  {row.text}"
            self._display.display(line, color=COLOURS.get(row.state), log_only=self._footer is not None)

    def _end(self) -> None:
        if self._footer is not None:
            self._footer.show([])
            self._display.display("", screen_only=True, newline=False)
            self._footer.remove()
            self._footer = None

    # ---- Ansible's events

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._tell()
        self._known = _source(play) in PLAYBOOKS
        for name in BANNERS:
            self.set_option(name, self._chosen[name] and not self._quiet)
        if not self._known:
            self._end()
        elif self._footer is None and _is_terminal():
            self._footer = Footer()
            self._footer.install()
        if self._known and not self._progress.machines:
            self._progress = Progress(check_mode=bool(context.CLIARGS["check"]))
        if self._quiet:
            self._play = play
        else:
            super().v2_playbook_on_play_start(play)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._tell()
        super().v2_playbook_on_task_start(task, is_conditional)

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        if self._known:
            self._progress.see(host.get_name())
        super().v2_runner_on_start(host, task)

    def v2_runner_on_ok(self, result: Any) -> None:
        self._learn(result)
        if self._quiet:
            self._handle_warnings_and_exception(result)
        else:
            super().v2_runner_on_ok(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        counts = self._known and not ignore_errors and _source(result.task) != FAIL
        if counts:
            self._progress.fail(result.host.get_name(), str(result.result.get("msg", "")))
            self._redraw()
        if not self._quiet:
            super().v2_runner_on_failed(result, ignore_errors)
        elif counts:
            self._held.append((super().v2_runner_on_failed, result))

    def v2_runner_item_on_failed(self, result: Any) -> None:
        if not self._quiet:
            super().v2_runner_item_on_failed(result)
        elif not result.task.ignore_errors:
            self._held.append((super().v2_runner_item_on_failed, result))

    def v2_playbook_on_include(self, included_file: Any) -> None:
        if not self._quiet:
            super().v2_playbook_on_include(included_file)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        if not self._quiet:
            super().v2_runner_item_on_ok(result)

    def v2_runner_retry(self, result: Any) -> None:
        if not self._quiet:
            super().v2_runner_retry(result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        if self._known and not result.task.ignore_unreachable:
            self._progress.lose(result.host.get_name(), str(result.result.get("msg", "")))
            self._redraw()
        if not self._quiet:
            super().v2_runner_on_unreachable(result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._tell()
        self._end()
        self._last_task_name = None  # the names of the tasks that follow are their own
        for show, result in self._held:
            if stats.summarize(result.host.get_name())["failures"]:
                show(result)
        if self._known and not self._progress.reported:
            for row in self._progress.unfinished():
                self._display.display(row.text, color=COLOURS.get(row.state))
        if not self._quiet:
            super().v2_playbook_on_stats(stats)


def _source(part: Any) -> Path:
    """The file that a play or a task is from."""
    return Path((part.get_path() or "").rpartition(":")[0]).resolve()


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _coloured(row: Row) -> str:
    colour = COLOURS.get(row.state)
    return str(stringc(row.text, colour)) if colour else row.text
