"""What docs/resolve_stack.md and README show of a plan is what comes out today."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.plugin_utils.plan_text import plan_text
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver import resolve
from lab_machines import TODAY, gpu_facts, system_facts

REPOSITORY = Path(__file__).parents[2]
ASKED = [
    (["V100", "RTX 4090"], {}),
    (["RTX 5090"], {"tensorflow_version": "2.20"}),
    (["RTX 4090"], {"tensorflow_version": "tensorflow-gpu", "tensorflow_python_version": "3.6"}),
]


@pytest.mark.parametrize(("gpus", "inputs"), ASKED)
def test_the_document_shows_the_plan_that_comes_out(gpus: list[str], inputs: dict[str, Any]) -> None:
    plan = resolve(gpu=gpu_facts(*gpus), system=system_facts("ubuntu 24.04"), inputs=inputs, today=TODAY)
    assert f"```text\n{plan_text({'tower': plan})}\n```" in (REPOSITORY / "docs/resolve_stack.md").read_text()


def test_the_readme_shows_the_plan_of_the_quickstart() -> None:
    system = system_facts("debian 12", pythons={"/usr/bin/python3.11": "3.11"})
    plan = resolve(gpu=gpu_facts(), system=system, inputs={"tensorflow_env_manager": "venv"}, today=TODAY)
    assert plan_text({"this-machine": plan}) in (REPOSITORY / "README.md").read_text()
