"""Stands in for the work of a role: writes its receipt into the machine's file, or goes wrong as the file says."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible_collections.gpulab.workstation.plugins.module_utils._addresses import without_secrets
from ansible_collections.gpulab.workstation.plugins.plugin_utils import drift


class ActionModule(ActionBase):
    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        component, inputs = self._task.args["component"], self._task.args["inputs"]
        path = Path(task_vars["stand_in"])
        machine = json.loads(path.read_text())
        back, away = self._task.args.get("back", False), inputs.get(f"{component}_state") == "absent"
        machine["journal"].append(component + (" back" if back else " away" if away else ""))
        trouble = machine["trouble"].get(machine["journal"][-1])
        if trouble == "lost":
            raise AnsibleConnectionFailure("Connection timed out")
        if not self._task.check_mode:
            before = machine["components"].get(component)
            machine["gpu"].update(machine.get("after", {}).get(machine["journal"][-1], {}))
            if back:
                machine["components"][component] = machine["previous"][component]
            elif away:
                machine["components"].pop(component, None)
            elif not trouble or component == "cifar10":
                machine["components"][component] = _receipt(component, inputs, machine, passed=not trouble)
                machine.setdefault("previous", {})[component] = before
            path.write_text(json.dumps(machine))
            for other, gpu in machine.get("meanwhile", {}).get(component, {}).items():
                elsewhere = path.with_name(f"{other}.json")
                seen = json.loads(elsewhere.read_text())
                elsewhere.write_text(json.dumps({**seen, "gpu": {**seen["gpu"], **gpu}}))
        diff = {"diff": {"before": "", "after": f"{component}\n"}} if self._task.diff else {}
        return {**result, **diff, "changed": True, **({"failed": True, "msg": trouble} if trouble else {})}


def _receipt(component: str, inputs: dict[str, Any], machine: dict[str, Any], *, passed: bool) -> dict[str, Any]:
    version = inputs.get(f"{component}_version") or machine["gpu"]["driver"]["installed"] or "1"
    details = {
        "passed": passed,
        "finished": datetime.now(timezone.utc).isoformat(),
        "checks": [],
        "stack": drift.fingerprint(machine["gpu"], machine),
        "directory": f"/envs/{version}",
    }
    return {
        "version": version,
        "inputs": without_secrets(inputs),
        "details": details,
        "digest": f"{component} {version}",
        "intact": True,
        "broken": [],
    }
