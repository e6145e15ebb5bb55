# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""gpu_job from the controller's side: real plays on this machine, ended well and badly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible.errors import AnsibleConnectionFailure
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gpulab.workstation.plugins.action import gpu_job as action
from ansible_collections.gpulab.workstation.plugins.modules import gpu_job

ROOT = Path(__file__).parents[2]
JOB = """
echo '{"event": "epoch", "epoch": 1, "epochs": 2, "accuracy": 0.5}' >> $GPULAB_PROGRESS
echo $$ > $PIDS/$$
sleep $NAP
echo '{"accuracy": 0.5}' > $GPULAB_RESULT
echo it is done
exit $RC
"""


def play(tmp_path: Path, *arguments: str, nap: float = 1, rc: int = 0, hosts: str = "one,") -> subprocess.Popen[str]:
    """Start a play that runs JOB, and prints what the module returned."""
    tasks = [
        {
            "name": "Run",
            "gpulab.workstation.gpu_job": {"argv": ["sh", "-c", JOB], "poll": 1, "lease": 5, "folder": str(tmp_path)},
            "environment": {"NAP": str(nap), "RC": str(rc), "PIDS": str(tmp_path)},
            "register": "run",
        },
        {"name": "Tell", "ansible.builtin.debug": {"msg": "rc={{ run.rc }} result={{ run.result.accuracy }}"}},
    ]
    playbook = tmp_path / "job.yml"
    playbook.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    python = ["-e", f"ansible_python_interpreter={sys.executable}"]
    command = [sys.executable, "-m", "ansible", "playbook", "-i", hosts, "-c", "local", *python, *arguments]
    return subprocess.Popen(
        [*command, str(playbook)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def pids(tmp_path: Path) -> list[int]:
    return [int(path.name) for path in tmp_path.iterdir() if path.name.isdigit()]


def nothing_is_left(tmp_path: Path, *, seconds: float) -> bool:
    """Whether in time no process of a job lives, and no job has a folder."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        alive = [pid for pid in pids(tmp_path) if Path(f"/proc/{pid}").exists()]
        if not alive and not list(tmp_path.glob("gpulab-job-*")):
            return True
        time.sleep(0.1)
    return False


def test_a_job_is_shown_while_it_runs_and_returned(tmp_path):
    run = play(tmp_path)
    output, _errors = run.communicate(timeout=120)
    assert run.returncode == 0, output
    assert output.count("    epoch 1/2  acc 0.500\n") == 1
    assert "rc=0 result=0.5" in output
    assert nothing_is_left(tmp_path, seconds=5)


def test_lines_of_several_hosts_carry_their_names(tmp_path):
    output, _errors = play(tmp_path, hosts="one,two,").communicate(timeout=120)
    assert "    [one] epoch 1/2  acc 0.500\n" in output
    assert "    [two] epoch 1/2  acc 0.500\n" in output


def test_a_failed_job_fails_the_task_with_its_last_words(tmp_path):
    run = play(tmp_path, rc=3)
    output, _errors = run.communicate(timeout=120)
    assert run.returncode == 2
    assert "The job failed: it ended with exit status 3: it is done" in output


def test_check_mode_runs_nothing(tmp_path):
    run = play(tmp_path, "--check")
    output, _errors = run.communicate(timeout=120)
    assert "changed=1" in output
    assert pids(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_play_that_is_ended_leaves_nothing(tmp_path, number):
    run = play(tmp_path, nap=600)
    deadline = time.monotonic() + 60
    while not pids(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(run.pid, number)
    run.communicate(timeout=60)
    assert len(pids(tmp_path)) == 1
    assert nothing_is_left(tmp_path, seconds=30)


class Visits(action.ActionModule):
    """The action plugin, with the answers of a target that is told what to answer, in order; an error is raised."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)

    def _visit(self, phase: str, **_values: object) -> dict:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _show(self, lines: list[str]) -> None:
        pass


LOST = AnsibleConnectionFailure("no route to host")
LOOK = {"events": [], "last_line": "", "live": None, "offset": 0}


@pytest.mark.parametrize(("hosts", "seconds"), [(1, 10), (10, 10), (25, 25), (400, 30)])
def test_the_more_machines_the_less_often_each_is_looked_at(hosts, seconds):
    assert action.interval(poll=10, lease=60, hosts=hosts) == seconds


def test_a_connection_that_comes_back_in_time_loses_nothing(monkeypatch):
    monkeypatch.setattr(action, "RETRY", 0.01)
    visits = Visits({**LOOK, "ended": False}, LOST, LOST, {**LOOK, "ended": True}, {"rc": 0})
    assert visits._stay("job", lease=60, seconds=1) == {"rc": 0}


def test_a_connection_that_is_lost_for_longer_than_the_lease_is_given_up(monkeypatch):
    monkeypatch.setattr(action, "RETRY", 0.01)
    visits = Visits({**LOOK, "ended": False}, *[LOST] * 100)
    with pytest.raises(AnsibleConnectionFailure, match="no route to host"):
        visits._stay("job", lease=0.05, seconds=1)
    assert visits.answers, "it was given up by the clock, not for want of answers"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "argv"),
        ({"argv": []}, "argv is empty"),
        ({"argv": ["true"], "poll": 0}, "poll must be above 0"),
        ({"argv": ["true"], "lease": 15}, "at least twice poll"),
        ({"argv": ["no-such-program"]}, "there is no such program"),
        ({"argv": ["true"], "user": "no-such-user"}, "no user no-such-user"),
        ({"argv": ["true"], "folder": "/no/such/folder"}, "folder cannot be made"),
        ({"argv": ["true"], "speed": 11}, "Unsupported parameters"),
    ],
)
def test_a_wrong_option_is_refused_by_name(capsys, options, message):
    with patch_module_args(options), pytest.raises(SystemExit):
        gpu_job.main()
    answer = json.loads(capsys.readouterr().out)
    assert answer["failed"] is True
    assert message in answer["msg"]
