"""Check mode on the bare machines, beside the run that followed it."""

from __future__ import annotations

import json
import os
from pathlib import Path


def test_check_mode_announced_exactly_the_components_that_the_run_changed():
    lines = (Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "changed-roles.jsonl").read_text().splitlines()
    runs = [json.loads(line) for line in lines]
    last = max(number for number, run in enumerate(runs) if run["check"])
    announced, made = (run["changed"] for run in runs[last : last + 2])
    assert made and all(made.values())
    assert announced == made
