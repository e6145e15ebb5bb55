"""What README and docs tell a lab to type is typed here, word for word, in a lab of stand-in machines.

The lab is the documents' own example, inventories/lab, with fewer machines in its rooms. README's commands come first,
in the order in which it rolls out.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from support.stand_in_lab import CHECKOUT, Lab

PAGES = [CHECKOUT / "README.md", *sorted(CHECKOUT.glob("docs/*.md")), *sorted(CHECKOUT.glob("roles/*/README.md"))]
COMMAND = re.compile(r"^ansible(?:-playbook)? .*$|`(ansible(?:-playbook)? [^`]*)`", re.MULTILINE)
GPUS = {"room_a": ["RTX 4090"], "room_b": ["RTX 3090"], "left_alone": ["RTX 3090"], "lab_cache": []}
# What a reader puts something of their own in the place of.
OWN = {
    "playbooks/accept.yml": "gpulab.workstation.accept",
    "gpulab-reports/20261124T001752Z/run.json": "…/run.json",
    "stack_lock=…": "stack_lock=lock.yml",
    "pull_url=…": "pull_url=https://git.lab.example/gpulab.git",
    "…/accepted.yml": "inventories/lab/group_vars/workstations/accepted.yml",
    "-i HOST, HOST": "desk-a01.lab.example",
    " NAME ": " desk-a01.lab.example ",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("controller")
    example = folder / "inventories" / "lab"
    shutil.copytree(CHECKOUT / "inventories" / "lab", example)
    hosts = example / "hosts.yml"
    hosts.write_text(hosts.read_text().replace("[01:12]", "[01:02]").replace("[01:08]", "01"))
    lab = Lab(folder)
    listed = json.loads(lab.run("ansible-inventory", "-i", str(example), "--list").stdout)
    (example / "host_vars").mkdir()
    for group, gpus in GPUS.items():
        for host in listed[group]["hosts"]:
            lab.add(host)
            lab.give(host, *gpus)
            variables = {**lab.inventory[host], "ansible_python_interpreter": sys.executable}
            (example / "host_vars" / f"{host}.yml").write_text(yaml.safe_dump(variables))
    return lab


def commands() -> list[str]:
    found = []
    for page in PAGES:
        text = re.sub(r"\\\n\s*", "", page.read_text())
        found += [match[1] or match[0] for match in COMMAND.finditer(text)]
    # What takes something away comes last.
    return sorted(dict.fromkeys(found), key=lambda command: bool(re.search("rollback|remove", command)))


@pytest.mark.parametrize("command", commands())
def test_what_the_documents_say_to_type_works(lab: Lab, command: str) -> None:
    for theirs, own in OWN.items():
        command = command.replace(theirs, own)
    newest: list[Path] = sorted(lab.folder.glob("gpulab-reports/*/run.json"))
    command = command.replace("…/run.json", str(newest[-1]) if newest else "")
    assert "…" not in command, "say in OWN what a reader puts here"
    words = shlex.split(command)
    if "-i" not in words:
        words += ["-i", "inventories/lab"]
    if "rollback" in command:
        # There is something to go back to: as after an upgrade to the same.
        for host in lab.inventory:
            lab.change(host, previous=lab.read(host)["components"])
    done = lab.run(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no hosts matched" not in done.stdout + done.stderr
