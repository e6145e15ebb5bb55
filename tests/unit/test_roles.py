"""Every role keeps to the same form: a spec and the same defaults, a README, the same names in all families."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpulab.workstation.plugins.plugin_utils import role_inputs

ROLES = Path(__file__).parents[2] / "roles"
NAMES = [path.name for path in sorted(ROLES.iterdir())]


def load(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("role", NAMES)
def test_spec_and_defaults_agree_in_names_and_values(role):
    spec = {name: option.get("default") for name, option in role_inputs.spec(role).items()}
    assert spec == role_inputs.defaults(role)


@pytest.mark.parametrize("role", NAMES)
def test_defaults_are_values_not_expressions(role):
    """Drift compares them on the controller, where an expression has no value yet."""
    assert "{{" not in (ROLES / role / "defaults" / "main.yml").read_text(encoding="utf-8")


@pytest.mark.parametrize("role", NAMES)
def test_inputs_carry_the_prefix_and_are_described_in_a_sentence(role):
    for name, option in role_inputs.spec(role).items():
        assert name.startswith(f"{role}_")
        text = option["description"] if isinstance(option["description"], str) else " ".join(option["description"])
        assert text.endswith("."), name


@pytest.mark.parametrize("role", NAMES)
def test_every_role_has_a_readme_a_state_a_preflight_and_a_receipt(role):
    assert (ROLES / role / "README.md").exists()
    assert role_inputs.spec(role)[f"{role}_state"]["choices"] == ["present", "absent"]
    assert (ROLES / role / "tasks" / "preflight.yml").exists()
    tasks = "".join(path.read_text(encoding="utf-8") for path in (ROLES / role / "tasks").glob("*.yml"))
    assert "gpulab.workstation.receipt:" in tasks


@pytest.mark.parametrize("role", NAMES)
def test_a_role_is_understood_from_its_main_file(role):
    assert len((ROLES / role / "tasks" / "main.yml").read_text(encoding="utf-8").splitlines()) <= 25


@pytest.mark.parametrize("role", NAMES)
def test_each_family_defines_the_same_names_in_the_same_order(role):
    families = [load(path) for path in sorted((ROLES / role / "vars").glob("[A-Z]*.yml"))]
    assert len({tuple(family) for family in families}) <= 1


@pytest.mark.parametrize("role", NAMES)
def test_internals_carry_the_roles_name(role):
    text = "".join(path.read_text(encoding="utf-8") for path in (ROLES / role).glob("*/*.yml"))
    registered = re.findall(r"register: (\S+)", text)
    assert [name for name in registered if not name.startswith(f"__{role}_")] == []


@pytest.mark.parametrize("role", NAMES)
def test_booleans_mean_what_they_say_on_a_command_line(role):
    """`-e some_input=false` arrives as text, which is true wherever it is not made a boolean first."""
    spec = role_inputs.spec(role)
    booleans = "|".join(name for name, option in spec.items() if option["type"] == "bool") or "(?!)"
    expression = re.compile(rf"(?:when: |that: |- |(?:if|not|and|or) |\()({booleans})\b(?! \| bool)(?!:)")
    files = [path for pattern in ("tasks/*", "vars/*", "templates/**/*.j2") for path in (ROLES / role).glob(pattern)]
    found = [
        f"{path.name}: {line.strip()}"
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if expression.search(line)
    ]
    assert found == []


def test_what_a_playbook_reads_of_a_role_is_written_by_it() -> None:
    """A name from inside a role (`__role_x`) would come to nothing, without a word, when the role renames it."""
    inside = re.compile(rf"\b__(?:{'|'.join(NAMES)})_\w+")

    def names(folder: Path) -> set:
        return {name for path in folder.rglob("*.yml") for name in inside.findall(path.read_text(encoding="utf-8"))}

    assert names(ROLES.parent / "playbooks") <= names(ROLES)


def commands(tasks: list[dict]) -> Iterator[dict]:
    """Every task that runs a command, those in blocks included, without what it says in its environment."""
    for task in tasks:
        for part in ("block", "rescue", "always"):
            yield from commands(task.get(part, []))
        if {"ansible.builtin.command", "ansible.builtin.shell"} & set(task):
            yield {name: value for name, value in task.items() if name not in ("environment", "when")}


@pytest.mark.parametrize("role", NAMES)
def test_no_command_line_has_an_address_of_the_inventory_in_it(role: str) -> None:
    """It may have a password in it, and a command that fails is shown."""
    for path in (ROLES / role / "tasks").glob("*.yml"):
        for command in commands(load(path) or []):
            assert not re.search(r"_(url|mirror|source)\b", str(command)), command["name"]
