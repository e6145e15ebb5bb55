"""A run over many machines, each with a wrong input of its own: all are refused, and nothing is executed or changed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from support.stand_in_lab import Lab

WRONG = yaml.safe_load((Path(__file__).parents[1] / "fixtures" / "inputs" / "wrong.yml").read_text(encoding="utf-8"))
# The one that goes into commands, paths, templates and the page.
INJECTED = "tensorflow_version"
# What the lab's own command line sets.
OUTRANKED = ("gpulab_report_directory",)


class Unsafe(str):
    """A text that Ansible is not to take for a template: what a value is when it comes from elsewhere."""


yaml.SafeDumper.add_representer(Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text), style='"'))


def cases(canary: Path) -> list[tuple[dict[str, Any], list[str]]]:
    """Return the inputs of each machine, and the words of its refusal."""
    plain = [case for kind in ("types", "ranges", "forms", "names", "templates") for case in WRONG[kind]]
    found = [({name: value}, [name, words]) for name, value, words in plain if name not in OUTRANKED]
    found += [(inputs, words) for inputs, *words in WRONG["contradictions"]]
    for text in WRONG["injections"]:
        value = Unsafe(text.replace("CANARY", str(canary)))
        found.append(({INJECTED: value}, [INJECTED, "is refused: it must be a release"]))
    return found


def test_every_wrong_inventory_is_refused_before_the_first_change(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    wrong = {f"desk-{number}": case for number, case in enumerate(cases(canary))}
    lab = Lab(tmp_path / "lab", *wrong)
    for host, (inputs, _words) in wrong.items():
        lab.inventory[host] |= inputs
    run = lab.play("site", "--forks", "4")
    assert run.code != 0
    assert "Traceback" not in run.said
    assert not canary.exists()
    for host, (inputs, words) in wrong.items():
        message = re.sub(r"\s+", " ", run.records[host]["failed"]["message"])
        assert message.startswith(f"{host}: "), message
        assert [word for word in words if word not in message] == [], (inputs, message)
        assert run.recap(host)["changed"] == 0
        assert lab.read(host)["journal"] == []
