"""Which environment the next one leaves a way back to, whatever became of the run before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).parents[2] / "roles/tensorflow"
NAMES = ("__tensorflow_recorded", "__tensorflow_before")
OLD, NEW, NEWEST = "/envs/tf-0", "/envs/tf-1", "/envs/tf-2"


def before(*, directory: str, in_use: str | None, receipt: dict[str, str] | None) -> Any:
    """Return what the role's variable says, with ``directory`` to come and the link at ``in_use``."""
    expressions = yaml.safe_load((ROLE / "vars/main.yml").read_text(encoding="utf-8"))
    facts = {
        "__tensorflow_directory": directory,
        "__tensorflow_in_use": {"stat": {"exists": True, "lnk_source": in_use} if in_use else {"exists": False}},
        "__tensorflow_machine": {"components": {"tensorflow": {"details": receipt}} if receipt else {}},
    }
    role = {name: trust_as_template(expressions[name]) for name in NAMES}
    return Templar(DataLoader(), variables={**facts, **role}).template(trust_as_template("{{ __tensorflow_before }}"))


@pytest.mark.parametrize(
    ("in_use", "receipt", "way_back"),
    [
        pytest.param(None, None, "", id="the first environment"),
        pytest.param(OLD, {"directory": OLD, "before": ""}, OLD, id="another one is in use"),
        pytest.param(NEW, {"directory": NEW, "before": OLD}, OLD, id="it is in use already"),
        pytest.param(NEW, {"directory": OLD, "before": ""}, OLD, id="cut off after it was put to use"),
        pytest.param(NEW, None, "", id="the first one, cut off after it was put to use"),
        pytest.param(OLD, None, OLD, id="somebody else's is in use"),
        pytest.param(NEWEST, {"directory": OLD, "before": ""}, OLD, id="cut off when a third one had been put to use"),
    ],
)
def test_the_way_back_leads_to_the_environment_that_served_last(
    in_use: str | None, receipt: dict[str, str] | None, way_back: str
) -> None:
    assert before(directory=NEW, in_use=in_use, receipt=receipt) == way_back
