"""Writes down which roles changed which machines in a run: what check mode announced is compared with it."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path

from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: changed_roles
type: aggregate
short_description: Write down which roles changed which machines
description: Adds a line of JSON for each run with roles to changed-roles.jsonl in molecule's ephemeral directory.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "changed_roles"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._ran: dict[str, set[str]] = defaultdict(set)
        self._changed: dict[str, set[str]] = defaultdict(set)

    def v2_runner_on_ok(self, result) -> None:
        if result.task._role:
            role = result.task._role.get_name(include_role_fqcn=False)
            self._ran[result.host.name].add(role)
            if result.is_changed():
                self._changed[result.host.name].add(role)

    def v2_playbook_on_stats(self, stats) -> None:
        if self._ran:
            run = {
                "check": context.CLIARGS["check"],
                "changed": {host: sorted(self._changed[host]) for host in sorted(self._ran)},
            }
            with (Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "changed-roles.jsonl").open("a") as file:
                file.write(json.dumps(run) + "\n")
