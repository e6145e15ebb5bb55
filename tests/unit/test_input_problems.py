"""Wrong inputs are refused with the variable, the value and what is allowed; sound ones are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.gpulab.workstation.plugins.plugin_utils import input_problems, role_inputs

WRONG = yaml.safe_load((Path(__file__).parents[1] / "fixtures" / "inputs" / "wrong.yml").read_text(encoding="utf-8"))
RULES = input_problems.rules()
INPUTS = {name: option for role in role_inputs.roles() for name, option in role_inputs.spec(role).items()}
INPUTS |= RULES["playbooks"]
# What is of the form, to put something behind it.
SOUND = {
    "version": "2.21.0",
    "repository": "https://git.lab.example/gpulab.git",
    "in_repository": "inventories/lab",
    "calendar": "*-*-* 03:00:00",
    "release": "2.21.0",
    "number_pair": "3.12",
    "branch": "580",
    "path": "/opt/place",
    "prefix": "/opt/place",
    "deep_prefix": "/opt/place",
    "any_path": "/data/my images",
    "images": "/data/my images",
    "controller_path": "files/lock.txt",
    "url": "https://me:word@mirror.example:8443/simple",
    "place": "https://mirror.example/cuda/repos",
    "origin": "http://cache.lab.example:8008",
    "upstream": "https://mirror.example/",
    "network": "10.1.0.0/16",
    "host": "desk-1.lab.example",
    "channel": "conda-forge/label/main",
    "package": "libstdc++6",
    "pinned_package": "jupyterlab[extra]==4.4.3",
    "constraint": "nvidia-cudnn-cu12>=9.3,<9.11",
    "file_name": "gpulab-python3.12",
    "account": "nobody",
    "sha256": "0" * 64,
    "fingerprint": "EB69 3B30 35CD 5710 E231 E123 A4B4 6996 3BF8 63CC",
}
OF_PEOPLE = ("images", "controller_path")


def in_its_type(name: str, text: str) -> Any:
    return {"list": [text], "dict": {"key": text}}.get(INPUTS[name]["type"], text)


def refused(name: str, value: Any) -> str:
    """Return the one sentence that a wrong value gets."""
    found = input_problems.problems({name: value})
    assert len(found) == 1, found
    assert found[0].startswith(name)
    assert "\n" not in found[0] and len(found[0]) < 500
    assert "_Ansible" not in found[0]
    return found[0]


def test_the_table_is_large():
    assert sum(len(WRONG[kind]) for kind in ("types", "ranges", "forms", "names", "contradictions")) >= 120


def test_every_text_has_a_form_and_every_number_a_range():
    texts = {
        name
        for name, option in INPUTS.items()
        if option["type"] in ("str", "path", "list", "dict") and "choices" not in option
    }
    # What this holds is written as YAML; no part of it is a command or a path.
    assert texts - {"anaconda_condarc", *RULES["shapes"]} == set(RULES["inputs"])
    assert {name for name, option in INPUTS.items() if option["type"] in ("int", "float")} == set(RULES["ranges"])
    assert set(RULES["inputs"].values()) <= set(RULES["forms"]) == set(SOUND)


@pytest.mark.parametrize("role", role_inputs.roles())
def test_the_defaults_are_sound(role):
    assert input_problems.problems(role_inputs.defaults(role)) == []


@pytest.mark.parametrize("name", RULES["inputs"])
def test_what_is_of_the_form_is_taken(name):
    assert input_problems.problems({name: in_its_type(name, SOUND[RULES["inputs"][name]])}) == []


@pytest.mark.parametrize("name", RULES["ranges"])
def test_the_ends_of_a_range_are_in_it(name):
    assert [input_problems.problems({name: number}) for number in RULES["ranges"][name]] == [[], []]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [case for kind in ("types", "ranges", "forms", "names", "apart") for case in WRONG[kind]],
)
def test_a_wrong_input_is_refused_with_what_is_allowed(name, value, words):
    assert words in refused(name, value)


@pytest.mark.parametrize("name", RULES["inputs"])
def test_nothing_that_could_be_executed_is_taken(name):
    sound = SOUND[RULES["inputs"][name]]
    for injection in WRONG["injections"]:
        refused(name, in_its_type(name, injection))
        refused(name, in_its_type(name, sound + injection))
    for text in WRONG["beginnings"] + ([] if RULES["inputs"][name] in OF_PEOPLE else WRONG["look_alikes"]):
        refused(name, in_its_type(name, text))


@pytest.mark.parametrize("signed", [True, "true", "yes", 1])
@pytest.mark.parametrize("scheme", ["http", "git"])
def test_what_can_be_replaced_on_its_way_is_taken_with_a_signature(scheme: str, signed: Any) -> None:
    inputs = {"pull_url": f"{scheme}://git.lab.example/gpulab.git", "pull_verify_commit": signed}
    assert input_problems.problems(inputs) == []


@pytest.mark.parametrize("signed", [None, False, "no"])
def test_what_can_be_replaced_on_its_way_is_not_taken_without_a_signature(signed: Any) -> None:
    inputs = {"pull_url": "http://git.lab.example/gpulab.git", "pull_verify_commit": signed}
    assert len(input_problems.problems(inputs)) == 1


@pytest.mark.parametrize(
    "place", ["ssh://git.lab.example/lab.git", "git@git.lab.example:lab.git", "file:///srv/lab.git", None]
)
def test_what_nobody_can_replace_on_its_way_needs_no_signature(place: str | None) -> None:
    assert input_problems.problems({"pull_url": place}) == []


def test_no_password_is_repeated():
    said = refused("tensorflow_index_url", "https://me:secret@mirror.example/a b")
    assert "secret" not in said and "mirror.example" in said


def test_a_value_of_any_size_is_told_in_a_line():
    assert "(100002 characters)" in refused("cifar10_user", "x " * 50000)
