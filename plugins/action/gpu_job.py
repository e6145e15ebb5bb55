# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start a job, show its progress until it ends, and collect it; the documentation is in plugins/modules/gpu_job.py."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from types import FrameType
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.gpulab.workstation.plugins.module_utils._job_lines import Lines
from ansible_collections.gpulab.workstation.plugins.plugin_utils.terminal import harmless

RETRY = 5.0  # seconds between two tries at a connection that was lost


class ActionModule(ActionBase):
    """Makes the visits to the target that one job takes."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the job; its result is the task's."""
        super().run(tmp, task_vars)
        self._task_vars = task_vars or {}
        command = self._task.args.get("argv")
        with _interruptible():
            started = self._visit("start")
            if "job" not in started:  # it failed, or this is check mode
                return {**started, "cmd": command}
            job = started["job"]
            try:
                hosts = len(self._task_vars.get("ansible_play_hosts_all", []))
                seconds = interval(poll=started["poll"], lease=started["lease"], hosts=hosts)
                outcome = self._stay(job, lease=started["lease"], seconds=seconds)
            except BaseException:
                # Whatever the reason, nobody will look at the job again.
                self._visit("stop", job=job)
                raise
        if not outcome.get("failed") and (outcome["reason"] != "exited" or outcome["rc"] != 0):
            said = (outcome["stderr"].strip() or outcome["stdout"].strip()).splitlines()
            outcome["failed"] = True
            outcome["msg"] = ": ".join(["The job failed", outcome["message"], *said[-1:]])
        outcome.pop("message", None)
        return {**outcome, "cmd": command}

    def _stay(self, job: str, *, lease: float, seconds: float) -> dict[str, Any]:
        """Look at the job until it has ended, for so many seconds each time; show what is new.

        A lost connection is borne as long as the job bears it.
        """
        lines, offset, heard = Lines(), 0, time.monotonic()
        play = parent_process()  # known from before the fork; by now it may be dead
        while True:
            if play and os.getppid() != play.pid:
                raise AnsibleError("the play that waits for this job was killed")
            try:
                look = self._visit("watch", job=job, offset=offset, seconds=seconds)
            except AnsibleConnectionFailure:
                if time.monotonic() - heard > lease:
                    raise
                time.sleep(RETRY)
                continue
            if look.get("failed"):
                return look
            heard, offset = time.monotonic(), look["offset"]
            self._show(lines.of(look))
            if look["ended"]:
                return self._visit("collect", job=job)

    def _visit(self, phase: str, **values: Any) -> dict[str, Any]:
        return self._execute_module(
            module_name="gpulab.workstation.gpu_job",
            module_args={**self._task.args, "_visit": {"phase": phase, **values}},
            task_vars=self._task_vars,
        )

    def _show(self, lines: list[str]) -> None:
        if self._task.no_log:
            return
        hosts = self._task_vars.get("ansible_play_hosts_all", [])
        name = f"[{self._task_vars.get('inventory_hostname')}] " if len(hosts) > 1 else ""
        for line in lines:
            Display().display(f"    {name}{harmless(line)}")


def interval(*, poll: float, lease: float, hosts: int) -> float:
    """How long a look takes. Many machines are looked at less often each: all of them together show a line a second."""
    return min(max(poll, float(hosts)), lease / 2)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let an interrupted play end its job: Ansible ends its workers by a signal, and they would die at once."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        for number in previous:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
