"""Stands in for the module of this name: what the machine's file says of its GPUs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        self._low_level_execute_command("true")  # a machine that is switched off does not answer
        path = Path(task_vars["stand_in"])
        machine = json.loads(path.read_text())
        if machine.get("looks"):
            machine["gpu"] = machine["looks"].pop(0)
            path.write_text(json.dumps(machine))
        return {**super().run(tmp, task_vars), "changed": False, **machine["gpu"]}
