"""Stands in for the work of a role: writes its receipt into the machine's file, or goes wrong as the file says."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        component, inputs = self._task.args["component"], self._task.args["inputs"]
        path = Path(task_vars["stand_in"])
        machine = json.loads(path.read_text())
        machine["journal"].append(component)
        trouble = machine["trouble"].get(component)
        if trouble == "lost":
            raise AnsibleConnectionFailure("Connection timed out")
        if not self._task.check_mode:
            details = {"passed": not trouble, "finished": datetime.now(timezone.utc).isoformat(), "checks": []}
            receipt = {"version": "1", "inputs": inputs, "details": details, "intact": True, "broken": []}
            if not trouble or component == "cifar10":
                machine["components"][component] = receipt
            machine["gpu"].update(machine.get("after", {}).get(component, {}))
            path.write_text(json.dumps(machine))
        return {**result, "changed": True, **({"failed": True, "msg": trouble} if trouble else {})}
