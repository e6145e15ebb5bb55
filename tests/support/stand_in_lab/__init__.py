"""A lab of stand-in machines, for the playbooks as they are: real ansible-playbook, real planning, real reports.

What stands in: each machine is a JSON file, gpu_info and stack_info read it, and a role does nothing but write its
receipt there. The roles' defaults and specs are the real ones. `trouble` in a machine's file says what goes wrong,
`after` what gpu_info says once a role has run, `meanwhile` what it then says of other machines, `looks` what it says
the next times that it is asked.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from unit.lab_machines import gpu_facts, system_facts

CHECKOUT = Path(__file__).parents[3]
STAND_INS = Path(__file__).parent
# Nothing answers there: a machine that is switched off.
SWITCHED_OFF = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 9}


@dataclass
class Run:
    """How a playbook ended: its exit code, what it said, and of its report the records by machine and the page."""

    code: int
    said: str
    records: dict[str, dict[str, Any]] | None
    page: str

    @classmethod
    def read(cls, code: int, said: str, reports: Path) -> Run:
        """With the newest report of a folder, where there is one."""
        written = sorted(reports.glob("*/run.json"))
        records = json.loads(written[-1].read_text())["records"] if written else None
        by_host = None if records is None else {record["host"]: record for record in records}
        return cls(code, said, by_host, (written[-1].parent / "index.html").read_text() if written else "")

    def recap(self, host: str) -> dict[str, int]:
        """Ansible's own count for ``host``: ok, changed, unreachable, failed …"""
        line = re.search(rf"^{host} +: (.*)$", self.said, re.MULTILINE)
        assert line, self.said
        return {word: int(count) for word, count in re.findall(r"(\w+)=(\d+)", line[1])}


class Lab:
    """Machines without a GPU, on Debian 12, unless a test changes their file."""

    def __init__(self, folder: Path, *hosts: str) -> None:
        self.folder = folder
        self.collection = folder / "ansible_collections" / "gpulab" / "workstation"
        self.inventory: dict[str, dict[str, Any]] = {}
        self.variables: dict[str, str] = {}  # of the environment that ansible-playbook gets
        actions = (STAND_INS / "action").glob("*.py")
        link_collection(self.collection, actions=actions, role_tasks=STAND_INS / "role_tasks")
        for host in hosts:
            self.add(host)

    def add(self, host: str) -> None:
        self.inventory[host] = {"ansible_connection": "local", "stand_in": str(self.folder / f"{host}.json")}
        self.give(host)
        self.change(host, system=system_facts("debian 12"), components={}, trouble={}, journal=[])

    def read(self, host: str) -> dict[str, Any]:
        path = self.folder / f"{host}.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def change(self, host: str, **parts: Any) -> None:
        (self.folder / f"{host}.json").write_text(json.dumps({**self.read(host), **parts}))

    def give(self, host: str, *gpus: str) -> None:
        """Put these GPUs, and no others, into a machine."""
        self.change(host, gpu={**gpu_facts(*gpus), "findings": [], "reboot_pending": False, "reboot_reasons": []})

    def find(self, host: str, *findings: dict[str, Any]) -> None:
        """Have gpu_info say these findings of a machine from now on."""
        self.change(host, gpu={**self.read(host)["gpu"], "findings": findings})

    def switch_off(self, host: str) -> None:
        self.inventory[host] |= SWITCHED_OFF

    def play(self, playbook: str, *arguments: str) -> Run:
        """Run one of the collection's playbooks for the lab."""
        reports = self.folder / "reports"
        shutil.rmtree(reports, ignore_errors=True)
        run = self.run(*self.command(playbook, *arguments))
        return Run.read(run.returncode, run.stdout + run.stderr, reports)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as on the lab's controller."""
        return subprocess.run(
            command, cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=300, check=False
        )

    def command(self, playbook: str, *arguments: str) -> list[str]:
        """The command that runs one of the collection's playbooks for the lab as it is now."""
        inventory = self.folder / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"workstations": {"hosts": self.inventory}}))
        command = ["ansible-playbook", f"gpulab.workstation.{playbook}", "-i", str(inventory)]
        return [*command, "-e", f"gpulab_report_directory={self.folder / 'reports'}", *arguments]

    def environment(self) -> dict[str, str]:
        """The environment of the lab's controller."""
        return {
            **os.environ,
            "PWD": str(self.folder),
            "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder),
            "ANSIBLE_BECOME_ALLOW_SAME_USER": "false",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
            **self.variables,
        }


def link_collection(collection: Path, *, actions: Iterable[Path], role_tasks: Path) -> None:
    """The collection as it is, but for the action plugins that are put beside its own, and the tasks of its roles."""
    (collection / "plugins" / "action").mkdir(parents=True)
    for name in ("galaxy.yml", "meta", "playbooks"):
        (collection / name).symlink_to(CHECKOUT / name)
    for folder in (CHECKOUT / "plugins").iterdir():
        if folder.name != "action":
            (collection / "plugins" / folder.name).symlink_to(folder)
    for plugin in (*(CHECKOUT / "plugins" / "action").glob("*.py"), *actions):
        (collection / "plugins" / "action" / plugin.name).symlink_to(plugin)
    for role in (CHECKOUT / "roles").iterdir():
        (collection / "roles" / role.name).mkdir(parents=True)
        for part in ("defaults", "meta"):
            (collection / "roles" / role.name / part).symlink_to(role / part)
        (collection / "roles" / role.name / "tasks").symlink_to(role_tasks)
