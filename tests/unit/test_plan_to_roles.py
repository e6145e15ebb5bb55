"""What the plan decides reaches the roles: the playbook's table of variables, the plan, and the roles' specs agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpulab.workstation.plugins.plugin_utils import drift, input_problems, role_inputs
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver import resolve
from lab_machines import TODAY, gpu_facts, system_facts

CHECKOUT = Path(__file__).parents[2]
TABLE = yaml.safe_load((CHECKOUT / "playbooks/vars/plan_to_roles.yml").read_text())
EVERYTHING = {"cuda_state": "present", "cudnn_state": "present"}
PLANS = {
    "workstation": resolve(
        gpu=gpu_facts("RTX 4090"), system=system_facts("ubuntu 24.04"), inputs=EVERYTHING, today=TODAY
    ),
    "no GPU": resolve(gpu=gpu_facts(), system=system_facts("debian 12"), inputs={}, today=TODAY),
}


def test_the_role_knows_the_digests_of_every_cudnn_that_a_plan_can_choose():
    releases = yaml.safe_load((CHECKOUT / "plugins/plugin_utils/compat/cudnn.yml").read_text())
    wheels = yaml.safe_load((CHECKOUT / "roles/cudnn/vars/main.yml").read_text())["__cudnn_wheels"]
    chosen = [(f"nvidia-cudnn-cu{major}", version) for one in releases for major, version in one["wheels"].items()]
    assert [(name, version) for name, version in chosen if "x86_64" not in wheels.get(name, {}).get(version, {})] == []


def test_the_workstations_plan_has_all_components_in_the_order_they_are_installed_in():
    assert list(PLANS["workstation"]["components"]) == [
        "os_prep",
        "nvidia_driver",
        "cuda",
        "cudnn",
        "anaconda",
        "tensorflow",
        "cifar10",
    ]


@pytest.mark.parametrize("name", PLANS)
def test_every_decision_of_a_plan_is_an_input_of_its_role_and_sound(name):
    for component, decided in PLANS[name]["components"].items():
        assert set(decided) <= set(role_inputs.spec(component))
        assert input_problems.problems(decided) == []


def test_the_playbook_hands_every_decision_to_its_role_and_nothing_else():
    handed = {}
    for variable, expression in TABLE.items():
        component, name = re.fullmatch(r"\{\{ gpulab_plan\.components\.(\w+)\.(\w+) \}\}", expression).groups()
        assert name == variable
        handed.setdefault(component, set()).add(variable)
    assert handed == {name: set(decided) for name, decided in PLANS["workstation"]["components"].items()}


def test_what_another_role_puts_elsewhere_is_looked_for_there():
    moved = {"anaconda_prefix": "/srv/conda", "tensorflow_prefix": "/srv/envs/tf"}
    plan = resolve(gpu=gpu_facts(), system=system_facts("debian 12"), inputs=moved, today=TODAY)
    assert plan["components"]["tensorflow"]["tensorflow_conda_prefix"] == "/srv/conda"
    assert plan["components"]["cifar10"]["cifar10_python"] == "/srv/envs/tf/bin/python"


def test_where_roles_look_for_each_other_by_default_and_by_the_inventory():
    usual = PLANS["no GPU"]["components"]
    for component, name in (("tensorflow", "tensorflow_conda_prefix"), ("cifar10", "cifar10_python")):
        assert usual[component][name] == role_inputs.defaults(component)[name]
    pinned = {"tensorflow_prefix": "/srv/envs/tf", "cifar10_python": "/opt/own/bin/python"}
    plan = resolve(gpu=gpu_facts(), system=system_facts("debian 12"), inputs=pinned, today=TODAY)
    assert plan["components"]["cifar10"]["cifar10_python"] == "/opt/own/bin/python"


def test_a_bare_workstation_differs_in_everything_that_is_planned():
    found = drift.compare(PLANS["workstation"], {"components": {}}, EVERYTHING)
    assert [item["component"] for item in found if item["drifted"]] == list(PLANS["workstation"]["components"])
