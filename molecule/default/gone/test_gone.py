"""What is left of it all after remove.yml."""

from __future__ import annotations

import json
import os
from pathlib import Path

# Where others may have put something of theirs.
EMPTY = {"/opt/gpulab", "/opt/gpulab/envs", "/opt/gpulab/share", "/var/lib/gpulab", "/var/lib/gpulab/receipts"}


def test_nothing_is_left_but_empty_folders_and_packages_of_the_system(written):
    assert written.keys() == EMPTY


def test_a_second_removal_found_nothing_to_remove():
    lines = (Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "changed-roles.jsonl").read_text().splitlines()
    first, second = (json.loads(line)["changed"]["gpulab-debian-12"] for line in lines[-2:])
    assert (first, second) == (["cifar10", "os_prep", "tensorflow"], [])
