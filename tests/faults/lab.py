"""Machines to be ill-treated: booted containers, a bundle in place of a network, and runs that can be killed."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.gpulab.workstation.plugins.module_utils._job_supervisor import descendants
from support.smallest import SMALLEST

CHECKOUT = Path(__file__).resolve().parents[2]
BUNDLE = "/srv/gpulab-bundle"
# What a machine is asked to become: all that site.yml does without a GPU, and a proof that takes seconds.
REQUEST: dict[str, Any] = {"gpulab_bundle": BUNDLE, **SMALLEST}
# The same packages by another recipe, by which an environment is known.
OTHER_LOCK = CHECKOUT / ".cache" / "other-lock.txt"
OTHER_ENVIRONMENT = {"tensorflow_lock_file": str(OTHER_LOCK)}
TASK = re.compile(r"^TASK \[(.*?)\] \*+$")


def bundle() -> Path:
    """Return the folder with all that the request takes, made at the first call and again when a lock has changed."""
    lock = CHECKOUT / "roles/tensorflow/files/locks/tensorflow-cpu-2.21.0.txt"
    OTHER_LOCK.write_text(f"# Another lock.\n{lock.read_text()}")
    made_from = [*CHECKOUT.glob("scripts/bundle/*.py"), *CHECKOUT.glob("roles/tensorflow/files/locks/*.txt")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(made_from))).hexdigest()[:12]
    folder = CHECKOUT / ".cache" / f"bundle-{digest}"
    if not (folder / "SHA256SUMS").exists():
        arguments = f"--system debian-12 --to {folder}"
        subprocess.run(["make", "bundle", f"ARGS={arguments}"], cwd=CHECKOUT, check=True, stdout=subprocess.DEVNULL)
    return folder


@dataclass
class Run:
    """One run of ansible-playbook: its output as it comes, and when each task began."""

    process: subprocess.Popen[str]
    began: float = field(default_factory=time.monotonic)
    lines: list[str] = field(default_factory=list)
    tasks: list[tuple[str, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._moved = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._moved:
                self.lines.append(line.rstrip("\n"))
                task = TASK.match(self.lines[-1])
                if task:
                    self.tasks.append((task.group(1), time.monotonic()))
                    self._moved.notify_all()

    def wait_for_task(self, number: int) -> bool:
        """Return as soon as the task of that number (from 0) has begun; False where the run ended before."""
        while True:
            with self._moved:
                if len(self.tasks) > number:
                    return True
                if self.process.poll() is not None and not self._reader.is_alive():
                    return False
                self._moved.wait(timeout=0.2)

    def kill(self) -> None:
        """End it, its workers and their connections, as nothing can be ended more suddenly."""
        # A process that is stopped starts no other while they are counted.
        self.process.send_signal(signal.SIGSTOP)
        for pid in [*descendants(self.process.pid), self.process.pid]:
            os.kill(pid, signal.SIGKILL)
        self.end()

    def end(self, timeout: float = 3600) -> int:
        """Wait for its end; return its status."""
        status = self.process.wait(timeout=timeout)
        self._reader.join(timeout=30)
        return status

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def recap(self, host: str) -> dict[str, int]:
        """Return what the end of the run says of a host, such as ``changed`` and ``failed``."""
        told = [line for line in self.lines if re.match(rf"{host} +: ", line)]
        return {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", told[-1])} if told else {}


class Machine:
    """A container with systemd, and the inventory that has it as its only host."""

    def __init__(self, name: str, work: Path, options: Sequence[str] = (), image: str = "") -> None:
        self.name, self._work = name, work
        environment = {**os.environ, **({"GPULAB_IMAGE_DEBIAN_12": image} if image else {})}
        mounts = ["--volume", f"{bundle()}:{BUNDLE}:ro"]
        command = ["tests/containers/booted", "--name", name, *mounts, *options]
        made = subprocess.run(command, cwd=CHECKOUT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        self._id = made.stdout.strip()

    def remove(self) -> None:
        _docker("rm", "--force", "--volumes", self.name)

    def inside(self, script: str, check: bool = True) -> str:
        """Run a shell script as root on the machine, in English; return what it printed."""
        command = ["docker", "exec", "--env", "LC_ALL=C.UTF-8", self.name, "sh", "-c", script]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if check and answer.returncode != 0:
            raise AssertionError(f"{script}: {answer.stdout}{answer.stderr}")
        return answer.stdout

    def start(self, *arguments: str, connection: Mapping[str, Any] | None = None, **request: Any) -> Run:
        """Start site.yml on the machine, or another playbook that ``arguments`` name, with these inputs as well."""
        host = {"ansible_host": self.name, "ansible_connection": "community.docker.docker", **(connection or {})}
        variables = {**REQUEST, "gpulab_report_directory": str(self._work / "reports"), **request}
        inventory = self._work / f"{self.name}.yml"
        inventory.write_text(yaml.safe_dump({"workstations": {"hosts": {"desk": host}, "vars": variables}}))
        playbook = [] if any(argument.endswith(".yml") for argument in arguments) else ["site.yml"]
        collections = f"{CHECKOUT}/.collections:{CHECKOUT}/.cache/collections"
        process = subprocess.Popen(
            ["ansible-playbook", "--inventory", inventory, *playbook, *arguments],
            cwd=CHECKOUT,
            env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": collections, "ANSIBLE_FORCE_COLOR": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return Run(process)

    def play(self, *arguments: str, connection: Mapping[str, Any] | None = None, **request: Any) -> Run:
        """As ``start``, to its end."""
        run = self.start(*arguments, connection=connection, **request)
        run.end()
        return run

    def kill_tasks(self) -> int:
        """End every process on the machine that is no service's; return how many there were."""
        listed = _docker("top", self.name, "-eo", "pid").split()[1:]
        ours = [int(pid) for pid in listed if not self._of_a_unit(pid)]
        for pid in ours:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it has just ended
        return len(ours)

    def _of_a_unit(self, pid: str) -> bool:
        """Whether systemd has started it: below the container's control group it makes groups of its own."""
        try:
            return bool(re.search(rf"{self._id}(\.scope)?/\w", Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii")))
        except FileNotFoundError:
            return True  # it has just ended

    def cut_power(self) -> None:
        """Take its power away."""
        _docker("kill", self.name)

    def boot(self) -> None:
        """Start it again, and wait until it is up."""
        _docker("start", self.name)
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        for _attempt in range(60):
            if self.inside("systemctl is-system-running --wait 2>&1", check=False).strip() == "running":
                return
            time.sleep(0.5)
        raise AssertionError(f"{self.name} does not come up")

    def reboot(self) -> None:
        """Let it shut down in order, and start again."""
        _docker("restart", self.name)
        self._wait_until_up()

    def unplug(self) -> None:
        """Take its network away."""
        _docker("network", "disconnect", "bridge", self.name)

    def plug(self) -> None:
        """Give it its network back; it may have another address then."""
        _docker("network", "connect", "bridge", self.name)

    def address(self) -> str:
        return _docker("inspect", "--format", "{{.NetworkSettings.Networks.bridge.IPAddress}}", self.name).strip()

    def keep_as(self, image: str) -> None:
        """Make an image of the machine as it is."""
        _docker("commit", self.name, image)


@contextmanager
def machine(name: str, work: Path, options: Sequence[str] = (), image: str = "") -> Iterator[Machine]:
    """A machine that is gone afterwards."""
    there = Machine(name, work, options, image)
    try:
        yield there
    finally:
        there.remove()


def image_exists(name: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode == 0


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout
