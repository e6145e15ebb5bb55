# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start a job that outlives the process that starts it, look at it, and collect it.

Each function is one visit to the target. Between two visits a job is in the care of its supervisor
(_job_supervisor.py); the folder that `start` returns is the job's name.
"""

from __future__ import annotations

import fcntl
import json
import os
import pwd
import shutil
import signal
import stat
import tempfile
import time
from typing import Any, Callable, Dict, List, Optional

from ansible_collections.gpulab.workstation.plugins.module_utils._job_supervisor import (
    TICK,
    JobSpec,
    ProgressFile,
    Recorder,
    Supervisor,
    open_of_job,
)

PREFIX = "gpulab-job-"
LARGEST_ANSWER = 16 * 1024 * 1024  # bytes of events, and of a result, that go back to the controller


class JobError(Exception):
    """The job cannot be started, or is not there any more; the message says why."""


def start(spec: JobSpec, *, folder: Optional[str] = None, recorder: Callable[[], Optional[Recorder]]) -> str:
    """Start a job and return its folder, made under `folder` (default: the system's temporary folder).

    `recorder` is called in the supervisor, so that what it opens belongs to the process that uses it.
    """
    account = _account(spec.user)
    if spec.chdir and not os.path.isdir(spec.chdir):
        raise JobError(f"{spec.chdir}: there is no such folder to run in")
    program = spec.argv[0]
    if not shutil.which(os.path.join(spec.chdir or "", program) if "/" in program else program):
        raise JobError(f"{program}: there is no such program, or it may not be run")
    try:
        job = tempfile.mkdtemp(prefix=PREFIX, dir=folder)
        os.mkdir(os.path.join(job, "job"), 0o700)
        _touch(os.path.join(job, "lease"))
        if account:
            # The job's user passes through the folder to its own, and reads nothing else in it.
            os.chmod(job, 0o711)
            os.chown(os.path.join(job, "job"), account.pw_uid, account.pw_gid)
    except OSError as error:
        raise JobError(f"the job's folder cannot be made: {error}") from error
    home = os.path.join(job, "job")
    environment = {
        "GPULAB_PROGRESS": os.path.join(home, "progress.jsonl"),
        "GPULAB_RESULT": os.path.join(home, "result.json"),
        # Python holds lines back when nobody is at a terminal; a job that is watched should not.
        "PYTHONUNBUFFERED": "1",
    }
    if account:
        # The user may have no home (nobody has none), and programs want to keep caches somewhere.
        environment.update(HOME=home, USER=account.pw_name, LOGNAME=account.pw_name, TMPDIR=home)
    _detach(job, JobSpec(**{**vars(spec), "environment": {**environment, **spec.environment}}), recorder)
    return job


def watch(job: str, *, offset: int, seconds: float) -> Dict[str, Any]:
    """Renew the lease and stay for up to `seconds`; return sooner when the job has ended.

    Returns `events` since `offset` in the progress file and the new `offset`, `last_line` of the output,
    `live` readings, and whether the job has `ended`.
    """
    _check(job)
    progress = ProgressFile(os.path.join(job, "job", "progress.jsonl"), offset)
    end = time.monotonic() + seconds
    while True:
        _touch(os.path.join(job, "lease"))
        state = _read_state(job)
        ended = state.get("outcome") is not None or not _supervised(job)
        if ended or time.monotonic() >= end:
            return {
                "events": progress.read(),
                "offset": progress.offset,
                "last_line": state.get("last_line", ""),
                "live": state.get("live"),
                "ended": ended,
            }
        time.sleep(min(1.0, max(TICK, end - time.monotonic())) if seconds > 1 else TICK)


def collect(job: str) -> Dict[str, Any]:
    """What became of a job that has ended: outcome, events, result, telemetry. Its folder is gone afterwards."""
    _check(job)
    state = _read_state(job)
    if not state.get("outcome"):
        _end_what_is_left(job)
    outcome = state.get("outcome") or {
        "reason": "killed",
        "rc": -9,
        "seconds": 0.0,
        "message": "its supervisor was killed, and the job with it",
        "stdout": "",
        "stderr": "",
    }
    events = ProgressFile(os.path.join(job, "job", "progress.jsonl")).read(limit=LARGEST_ANSWER)
    try:
        with open_of_job(os.path.join(job, "job", "result.json")) as stream:
            result = json.loads(stream.read(LARGEST_ANSWER))
    except (OSError, ValueError):
        result = None
    shutil.rmtree(job, ignore_errors=True)
    return {**outcome, "events": events, "result": result, "telemetry": state.get("telemetry")}


def stop(job: str, *, seconds: float = 15.0) -> None:
    """End a job, and return when it has ended and its folder is gone."""
    try:
        _check(job)
        _touch(os.path.join(job, "stop"))
        end = time.monotonic() + seconds
        while _supervised(job) and _read_state(job).get("outcome") is None and time.monotonic() < end:
            time.sleep(TICK)
    except (JobError, OSError):
        return  # it is gone already, which is what was wanted
    shutil.rmtree(job, ignore_errors=True)


def _end_what_is_left(job: str) -> None:
    """End what a killed supervisor left of its job: processes that have the job's folder in their environment."""
    mark = f"GPULAB_PROGRESS={job}/".encode()
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/environ", "rb") as stream:
                if mark in stream.read():
                    os.kill(int(name), signal.SIGKILL)
        except OSError:  # no process, or one that is not ours, or it has just ended
            continue


def _account(user: Optional[str]) -> Optional[pwd.struct_passwd]:
    """The account to change to, or None when this process is that user already."""
    if not user:
        return None
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        raise JobError(f"there is no user {user}") from None
    if account.pw_uid == os.geteuid():
        return None
    if os.geteuid() != 0:
        raise JobError(f"only root can run a job as another user ({user})")
    return account


def _check(job: str) -> None:
    """Refuse to touch what `start` did not make."""
    try:
        status = os.lstat(job)
    except OSError:
        raise JobError(
            "the job is gone: its lease ran out because nobody asked for it in time, or the machine was restarted"
        ) from None
    if not (os.path.basename(job).startswith(PREFIX) and stat.S_ISDIR(status.st_mode)):
        raise JobError(f"{job}: not a job's folder")
    if status.st_uid != os.geteuid():
        raise JobError(f"{job}: the job belongs to another user")


def _touch(path: str) -> None:
    with open(path, "ab"):
        os.utime(path)


def _read_state(job: str) -> Dict[str, Any]:
    try:
        with open(os.path.join(job, "state.json"), encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return {}


def _supervised(job: str) -> bool:
    """Whether the supervisor lives: it holds a lock for as long as it does, whatever its process number."""
    try:
        descriptor = os.open(os.path.join(job, "lock"), os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _detach(job: str, spec: JobSpec, recorder: Callable[[], Optional[Recorder]]) -> None:
    """Run the supervisor in a process of its own session that keeps nothing of this one open.

    Returns once the supervisor holds its lock. The process forks and does not exec, because the files that its
    code was loaded from are gone as soon as this visit ends.
    """
    told, tell = os.pipe()
    middle = os.fork()
    if middle == 0:
        # Whatever happens here must not return into the caller's code, which runs in the parent.
        try:
            os.setsid()
            if os.fork() == 0:
                _close_everything_but(tell)
                Supervisor(job, spec, recorder()).run(ready=lambda: os.close(tell))
        finally:
            os._exit(0)
    os.close(tell)
    os.waitpid(middle, 0)
    os.read(told, 1)  # the end of the pipe: the supervisor has its lock, or has died
    os.close(told)


def _close_everything_but(kept: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)
    descriptors: List[int] = [int(name) for name in os.listdir("/proc/self/fd")]
    for descriptor in descriptors:
        if descriptor > 2 and descriptor != kept:
            try:
                os.close(descriptor)
            except OSError:  # the one that listed them
                continue
