"""Machines that are reached over SSH: containers with an sshd, and in each a stand-in for a GPU.

Real are the connection with its keys and sudo, the modules and what they read, and the playbooks. What stands in: the
GPU on the PCI bus, the library that answers for it, and the work of the roles (role_tasks, work), done in small and
recorded by the real receipts. Each machine has a folder on this host, /srv/machine in it; its file `journal` has a
line for each component that a role worked on.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.nvml_stand_in import MACHINE, RTX_4090, build, configure
from support.pci_tree import MachineTree
from support.stand_in_lab import CHECKOUT, Run, link_collection

HERE = Path(__file__).parent
LIBRARIES = "/usr/lib/x86_64-linux-gnu"
SYSTEMS = ("debian 12", "ubuntu-like 24.04", "el-like 9", "el-like 10")


def image(system: str) -> str:
    """The name of the image of a system with an sshd; it is made where it is missing."""
    plain = subprocess.check_output([CHECKOUT / "tests/containers/image", *system.split()], text=True).strip()
    return with_ssh(plain)


def with_ssh(plain: str) -> str:
    return subprocess.check_output([CHECKOUT / "tests/containers/with-ssh", plain], text=True).strip()


class Fleet:
    """Containers on a network of their own, by name. To be used with ``with``: nothing of it is left."""

    def __init__(self, folder: Path, machines: Mapping[str, str], *, gpus: bool = True) -> None:
        """``machines`` has an image by name."""
        self.folder = folder
        self.machines = dict(machines)
        self.gpus = gpus
        self.name = f"gpulab-fleet-{os.getpid()}"
        self.variables: dict[str, Any] = {}
        # A socket's path is short, and a test's folder may not be.
        self.sockets = Path(tempfile.mkdtemp(prefix="ssh-"))

    def __enter__(self) -> Fleet:
        docker("network", "create", self.name)
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        for socket in self.sockets.iterdir():
            subprocess.run(["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "-"], capture_output=True, check=False)
        subprocess.run(
            ["docker", "rm", "--force", *map(self.container, self.machines)], capture_output=True, check=False
        )
        docker("network", "rm", self.name)
        shutil.rmtree(self.sockets)

    def container(self, host: str) -> str:
        return f"{self.name}-{host}"

    def file(self, host: str, name: str) -> Path:
        """A file of a machine's folder."""
        return self.folder / host / name

    def worked_on(self, host: str) -> list[str]:
        """The components that a role has worked on, in that order."""
        journal = self.file(host, "journal")
        return journal.read_text().split() if journal.exists() else []

    def touched(self) -> list[str]:
        return [host for host in self.machines if self.worked_on(host)]

    def inside(self, host: str, script: str) -> str:
        return docker("exec", self.container(host), "sh", "-euc", script)

    def compute(self, host: str, *processes: str) -> None:
        """Have the machine's library name these processes, such as ``compute 4242 18000``, and no others."""
        gpu = {**RTX_4090, "process": processes} if processes else RTX_4090
        configure(self.file(host, "libnvidia-ml.so.1"), machine=MACHINE, gpus=[gpu])

    def cut_off(self, host: str) -> None:
        """Have a machine die as when its power goes: no connection is closed."""
        docker("network", "disconnect", self.name, self.container(host))
        docker("kill", self.container(host))

    def revive(self, host: str) -> None:
        """Start a machine again that was cut off; it may have another address."""
        docker("network", "connect", self.name, self.container(host))
        docker("start", self.container(host))
        self._find()

    # ---- Ansible

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(self.sockets),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
        }

    def command(self, playbook: str, *arguments: str) -> list[str]:
        """What runs one of the collection's playbooks for the fleet."""
        inventory = {"workstations": {"hosts": self.addresses, "vars": {**self._connection(), **self.variables}}}
        (self.folder / "hosts.json").write_text(json.dumps(inventory))
        reports = f"gpulab_report_directory={self.folder / 'reports'}"
        return ["ansible-playbook", playbook, "-i", str(self.folder / "hosts.json"), "-e", reports, *arguments]

    def begin(self, playbook: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a playbook, in a process group of its own; what it says goes to said.log."""
        link = self.folder / "ansible_collections" / "gpulab" / "workstation"
        if not link.exists():
            link_collection(link, actions=(), role_tasks=HERE / "role_tasks")
        command = self.command(f"gpulab.workstation.{playbook}", *arguments)
        with (self.folder / "said.log").open("w") as said:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment(),
                stdout=said,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def end(self, process: subprocess.Popen[str], *, within_s: int = 900) -> Run:
        """Wait for a playbook; its Run has no records where it wrote none."""
        started = {path.name for path in (self.folder / "reports").glob("2*")}
        code = process.wait(timeout=within_s)
        said = (self.folder / "said.log").read_text()
        written = {path.name for path in (self.folder / "reports").glob("2*")} - started
        return Run.read(code, said, self.folder / "reports" if written else self.folder / "none")

    def play(self, playbook: str, *arguments: str) -> Run:
        return self.end(self.begin(playbook, *arguments))

    # ---- the machines

    def _connection(self) -> dict[str, Any]:
        options = ["-o", f"UserKnownHostsFile={self.folder / 'known_hosts'}", "-o", "StrictHostKeyChecking=yes"]
        return {
            "ansible_user": "admin",
            "ansible_ssh_private_key_file": str(self.folder / "key"),
            "ansible_ssh_common_args": shlex.join(options),
        }

    def _start(self) -> None:
        _make_key(self.folder / "key")
        library = build(self.folder) if self.gpus else None
        for host, name in self.machines.items():
            folder = self.folder / host
            folder.mkdir()
            _make_key(folder / "host_key")
            (folder / "authorized_keys").write_text((self.folder / "key.pub").read_text())
            (folder / "work").write_text((HERE / "work").read_text())
            options = ["--volume", f"{folder}:/srv/machine"]
            if library:
                options += self._give_a_gpu(folder, library)
            docker("run", "--detach", "--init", "--network", self.name, "--name", self.container(host), *options, name)
        self._find()

    def _find(self) -> None:
        """Learn the addresses of the machines that run, and have their keys known there."""
        shown = json.loads(docker("inspect", *map(self.container, self.machines)))
        found = [container["NetworkSettings"]["Networks"][self.name]["IPAddress"] for container in shown]
        self.addresses = {host: {"ansible_host": address} for host, address in zip(self.machines, found, strict=True)}
        keys = {address: self.file(host, "host_key.pub").read_text() for host, address in zip(self.machines, found)}
        (self.folder / "known_hosts").write_text("".join(f"{address} {key}" for address, key in keys.items()))

    def _give_a_gpu(self, folder: Path, library: Path) -> list[str]:
        """An RTX 4090 in the slot where its library has it."""
        MachineTree(folder / "tree").gpu(RTX_4090["device_id"], address=RTX_4090["pci"], driver="nvidia")
        (folder / library.name).write_bytes(library.read_bytes())
        configure(folder / library.name, machine=MACHINE, gpus=[RTX_4090])
        names = [library.name, f"{library.name}.conf"]
        places = {
            "tree/sys/devices/pci0000:00": "/sys/bus/pci/devices",
            **{name: f"{LIBRARIES}/{name}" for name in names},
        }
        mounts = [f"type=bind,source={folder / source},target={target},readonly" for source, target in places.items()]
        return [part for mount in mounts for part in ("--mount", mount)]


def _make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)


def docker(*arguments: str) -> str:
    """Raises CalledProcessError, whose stderr is shown, where the engine refuses."""
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (arguments, done.stderr)
    return done.stdout
