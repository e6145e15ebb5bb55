"""A machine of a test's own that is reached over SSH, as a lab's are."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]


class Machine:
    """Root logs in with ``folder``/key; what Ansible says is kept in ``folder``/play.log."""

    def __init__(self, folder: Path, address: str, *, port: int = 22, **play: Any) -> None:
        self.folder = folder
        self.address = address
        self.port = port
        self.of_each_play = play  # such as vars and module_defaults
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ConnectTimeout=5"]
        self.ssh = [*options, "-o", f"Port={port}", "-i", str(folder / "key")]

    def run(self, command: str) -> str:
        return self.ask(command, check=True).stdout.strip()

    def ask(self, command: str, *, check: bool = False) -> subprocess.CompletedProcess[str]:
        ssh = ["ssh", "-q", *self.ssh, f"root@{self.address}", command]
        return subprocess.run(ssh, capture_output=True, text=True, timeout=600, check=check)

    def play(self, *tasks: dict[str, Any], words: tuple[str, ...] = (), **variables: Any) -> tuple[int, str]:
        """Play tasks on it, with further words for Ansible; returns the exit code and what was said, in one line."""
        inventory = {
            "workstation": {
                "ansible_host": self.address,
                "ansible_port": self.port,  # by it Ansible tells apart the connections that it keeps
                "ansible_user": "root",
                "ansible_ssh_common_args": " ".join(self.ssh),
                "ansible_python_interpreter": "/usr/bin/python3",
            }
        }
        given = {**self.of_each_play.get("vars", {}), **variables}
        play = {"hosts": "all", "gather_facts": False, **self.of_each_play, "vars": given, "tasks": tasks}
        (self.folder / "inventory.json").write_text(json.dumps({"all": {"hosts": inventory}}))
        (self.folder / "play.json").write_text(json.dumps([play]))
        command = ["ansible-playbook", self.folder / "play.json", "-i", self.folder / "inventory.json", *words]
        run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=1800, check=False)
        with (self.folder / "play.log").open("a") as log:
            log.write(run.stdout + run.stderr)
        return run.returncode, " ".join((run.stdout + run.stderr).split())

    def answer(self, task: dict[str, Any], *, words: tuple[str, ...] = (), **variables: Any) -> dict[str, Any]:
        """What a module answers; it must succeed."""
        keep = {"content": "{{ answer | to_json }}", "dest": str(self.folder / "answer.json")}
        here = {"delegate_to": "localhost", "vars": {"ansible_connection": "local"}, "check_mode": False}
        code, said = self.play(
            {**task, "register": "answer"}, {"ansible.builtin.copy": keep, **here}, words=words, **variables
        )
        assert code == 0, said
        return json.loads((self.folder / "answer.json").read_text())
