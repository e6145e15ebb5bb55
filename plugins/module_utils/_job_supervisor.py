# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The process that starts a job, stays with it, and makes sure that nothing of it is left.

It is detached from whoever started it. Its folder is all that it shares with the outside:

  lease         touched by the controller as long as somebody waits for the job
  stop          made by the controller to end the job early
  lock          locked as long as this process lives
  state.json    what there is to know, replaced once a second and at the end
  job/          belongs to the user of the job, who writes progress.jsonl and result.json there
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import pwd
import select
import shutil
import signal
import stat
import subprocess
import time
from dataclasses import asdict, dataclass, field
from typing import IO, Any, Callable, Dict, List, Optional, Protocol

TICK = 0.1  # seconds between two looks at the job, the lease and the GPUs
TAIL = 64 * 1024  # bytes of standard output, and of standard error, that are kept
GRACE = 10.0  # seconds between asking a job to end and killing it
RESERVE = 256 * 1024  # bytes held back on the disk, so that a job that fills it cannot hide how it ended

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class JobSpec:
    """What to run, and how long to stay with it. Times are in seconds; a timeout of 0 is none."""

    argv: List[str]
    lease: float
    timeout: float = 0
    chdir: Optional[str] = None
    user: Optional[str] = None
    environment: Dict[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """How a job ended.

    `reason` is exited, killed (by a signal from elsewhere), out_of_memory, timeout, abandoned (nobody renewed the
    lease), stopped, or not_started.
    """

    reason: str
    rc: int
    seconds: float
    message: str
    stdout: str = ""
    stderr: str = ""


class Recorder(Protocol):
    """Something that watches the machine while the job runs."""

    def sample(self, *, pids: Callable[[], List[int]]) -> None: ...

    def follow(self, event: Dict[str, Any]) -> None: ...

    def live(self) -> Any: ...

    def summary(self) -> Any: ...


class Tail:
    """The last bytes of a stream."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, data: bytes) -> None:
        self._bytes += data
        del self._bytes[:-TAIL]

    def text(self) -> str:
        return self._bytes.decode("utf-8", "replace")

    def last_line(self) -> str:
        # A progress bar rewrites its line with carriage returns; what it shows now is after the last one.
        lines = [line for line in self.text().replace("\r", "\n").split("\n") if line.strip()]
        return lines[-1].strip()[:200] if lines else ""


class ProgressFile:
    """Reads the events that were added to a file of JSON lines; what is no JSON object is passed over."""

    def __init__(self, path: str, offset: int = 0) -> None:
        self.path, self.offset = path, offset

    def read(self, limit: int = 1024 * 1024) -> List[Dict[str, Any]]:
        try:
            with open_of_job(self.path) as stream:
                stream.seek(self.offset)
                block = stream.read(limit)
        except OSError:
            return []
        whole = block.rfind(b"\n") + 1
        if not whole and len(block) == limit:
            whole = limit  # a line without end is not waited for
        self.offset += whole
        events = []
        for line in block[:whole].splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                events.append(event)
        return events


def open_of_job(path: str) -> IO[bytes]:
    """Open a file that the job's user made, who may be less trusted than this process: no links, no pipes."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path}: not a regular file")
    return os.fdopen(descriptor, "rb")


def write_json(path: str, value: Any) -> None:
    """Replace a file at once, so that a reader sees the old one or the new one."""
    with open(path + ".part", "w", encoding="utf-8") as stream:
        json.dump(value, stream)
    os.replace(path + ".part", path)


def oom_kills() -> int:
    """How often the kernel has killed for memory, in this control group and on the machine."""
    kills = 0
    for path, key in (("/proc/vmstat", "oom_kill"), ("/sys/fs/cgroup/memory.events", "oom_kill")):
        try:
            with open(path, encoding="ascii") as stream:
                kills += sum(int(line.split()[1]) for line in stream if line.split()[0] == key)
        except OSError:
            continue
    return kills


def descendants(root: int) -> List[int]:
    """Every process below `root`, from /proc."""
    children: Dict[int, List[int]] = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stream:
                parent = int(stream.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue  # it has just ended
        children.setdefault(parent, []).append(int(name))
    found: List[int] = []
    waiting = [root]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.append(child)
            waiting.append(child)
    return found


def _prepare_child(spec: JobSpec, supervisor: int) -> Callable[[], None]:
    """What the child does between fork and exec: die with its supervisor, and become the job's user."""
    libc = ctypes.CDLL(None, use_errno=True)
    account = pwd.getpwnam(spec.user) if spec.user and os.geteuid() == 0 else None
    groups = os.getgrouplist(account.pw_name, account.pw_gid) if account else []

    def prepare() -> None:
        if account:
            os.setgroups(groups)
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
        # After the change of user, which would clear it.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(127)

    return prepare


class Supervisor:
    """Runs one job to its end."""

    def __init__(self, folder: str, spec: JobSpec, recorder: Optional[Recorder] = None) -> None:
        self.folder, self.spec, self.recorder = folder, spec, recorder
        self.stdout, self.stderr = Tail(), Tail()
        self.progress = ProgressFile(self._path("job", "progress.jsonl"))
        self._renewed = (-1.0, time.monotonic())

    def _path(self, *parts: str) -> str:
        return os.path.join(self.folder, *parts)

    def run(self, *, ready: Callable[[], None]) -> None:
        """Start the job, stay until it has ended and somebody has collected it or nobody will.

        `ready` is called as soon as others can see that the job is supervised.
        """
        lock = os.open(self._path("lock"), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready()
        self._hold_reserve()
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        started = time.monotonic()
        try:
            outcome = self._supervise(started)
        except OSError as error:
            user = pwd.getpwuid(os.geteuid()).pw_name if self.spec.user is None else self.spec.user
            why = f"{self.spec.argv[0]} could not be started as {user}: {error.strerror or error}"
            outcome = Outcome("not_started", 127, 0.0, why)
        outcome.stdout, outcome.stderr = self.stdout.text(), self.stderr.text()
        self._release_reserve()
        self._write_state(outcome)
        while os.path.isdir(self.folder):
            if self._lease_is_over() or outcome.reason == "abandoned":
                shutil.rmtree(self.folder, ignore_errors=True)
                return
            time.sleep(TICK)

    def _supervise(self, started: float) -> Outcome:
        kills = oom_kills()
        child = subprocess.Popen(  # pylint: disable=ansible-bad-function # the module has ended long ago
            self.spec.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.spec.chdir or self._path("job"),
            env={**os.environ, **self.spec.environment},
            start_new_session=True,
            preexec_fn=_prepare_child(self.spec, os.getpid()),
        )
        cause = self._watch(child, started)
        seconds = round(time.monotonic() - started, 3)
        self._end_all(child)
        self._follow_progress()
        rc = child.returncode
        messages = {
            "timeout": f"it was still running after {self.spec.timeout:g} s and was ended",
            "abandoned": f"nobody asked for it for {self.spec.lease:g} s and it was ended",
            "stopped": "it was ended on request",
        }
        if cause:
            return Outcome(cause, rc, seconds, messages[cause])
        if rc == -signal.SIGKILL and oom_kills() > kills:
            return Outcome("out_of_memory", rc, seconds, "the kernel killed it because memory ran out")
        if rc < 0:
            return Outcome("killed", rc, seconds, f"it was killed by {signal.Signals(-rc).name}")
        return Outcome("exited", rc, seconds, f"it ended with exit status {int(rc)}")

    def _watch(self, child: subprocess.Popen[bytes], started: float) -> Optional[str]:
        """Read, sample and renew until the job ends (None) or has to be ended (why)."""
        outputs = ((child.stdout, self.stdout), (child.stderr, self.stderr))
        tails = {pipe.fileno(): tail for pipe, tail in outputs if pipe}
        written = 0.0
        while child.poll() is None:
            self._read_output(tails, TICK)
            self._follow_progress()
            if self.recorder:
                self.recorder.sample(pids=lambda: descendants(os.getpid()))
            now = time.monotonic()
            if now - written >= 1:
                self._write_state(None)
                written = now
            if self.spec.timeout and now - started > self.spec.timeout:
                return "timeout"
            if os.path.exists(self._path("stop")):
                return "stopped"
            if self._lease_is_over():
                return "abandoned"
        while tails and self._read_output(tails, 0):
            pass
        return None

    def _read_output(self, tails: Dict[int, Tail], timeout: float) -> bool:
        """Take what the job has written; whether there was anything."""
        if not tails:
            time.sleep(timeout)
            return False
        end = time.monotonic() + timeout
        some = False
        while True:
            ready, _unused, _unused = select.select(list(tails), [], [], max(0.0, end - time.monotonic()))
            for descriptor in ready:
                data = os.read(descriptor, 65536)
                if data:
                    some = True
                    tails[descriptor].add(data)
                else:
                    del tails[descriptor]
            if time.monotonic() >= end or not tails:
                return some

    def _follow_progress(self) -> None:
        events = self.progress.read()
        if self.recorder:
            for event in events:
                self.recorder.follow(event)

    def _lease_is_over(self) -> bool:
        """By this process's own clock, which nobody sets: only that the file changes matters, not to what time."""
        try:
            touched = os.stat(self._path("lease")).st_mtime
        except OSError:
            return True
        if touched != self._renewed[0]:
            self._renewed = (touched, time.monotonic())
        return time.monotonic() - self._renewed[1] > self.spec.lease

    def _end_all(self, child: subprocess.Popen[bytes]) -> None:
        """End the job's process group, and then whatever it started that went its own way."""
        end = time.monotonic() + GRACE
        if child.poll() is None:
            _signal_group(child.pid, signal.SIGTERM)
            while child.poll() is None and time.monotonic() < end:
                time.sleep(TICK)
        _signal_group(child.pid, signal.SIGKILL)
        child.wait()
        # Orphans of the job became children of this process, the subreaper.
        for pid in descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue

    def _write_state(self, outcome: Optional[Outcome]) -> None:
        state = {
            "outcome": asdict(outcome) if outcome else None,
            "last_line": self.stdout.last_line() or self.stderr.last_line(),
            "live": self.recorder.live() if self.recorder else None,
            "telemetry": self.recorder.summary() if self.recorder and outcome else None,
        }
        try:
            write_json(self._path("state.json"), state)
        except OSError:
            if outcome:
                raise
            # The disk is full at the moment; the next look may find it otherwise, and the end has its reserve.

    def _hold_reserve(self) -> None:
        with open(self._path("reserve"), "wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, RESERVE)

    def _release_reserve(self) -> None:
        os.unlink(self._path("reserve"))


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(OSError):  # it is gone already
        os.killpg(group, number)
