# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of PCI ids: made from its source, complete, and careful with what it does not list."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpulab.workstation.plugins.module_utils._gpu_identity import Identity, identify
from hypothesis import given, settings
from hypothesis import strategies as st

REPOSITORY = Path(__file__).parents[2]
SOURCE = REPOSITORY / "scripts/data/nvidia_pci_ids.yml"
LISTED = yaml.safe_load(SOURCE.read_text(encoding="utf-8"))["nvidia_pci_ids"]


def test_the_generated_table_is_what_the_generator_makes_of_its_source() -> None:
    generator = REPOSITORY / "scripts/generate_pci_ids.py"
    made = subprocess.run([sys.executable, generator, SOURCE], check=True, capture_output=True, text=True).stdout
    assert made == (REPOSITORY / "plugins/module_utils/_pci_ids.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("entry", LISTED, ids=lambda entry: entry["device"])
def test_every_listed_id_is_known_with_all_its_facts(entry: dict[str, str]) -> None:
    assert identify(int(entry["device"], 16)) == Identity(
        source="table",
        name=entry["name"],
        chip=entry["chip"],
        architecture=entry["arch"],
        compute_capability=entry["compute_capability"],
        kernel_modules=entry["kernel_modules"],
        last_branch=entry["last_branch"],
    )


@pytest.mark.parametrize(
    ("device", "architecture", "capability", "modules", "branch"),
    [
        (0x2C3A, "blackwell", "12.0", "open", None),  # among GB203
        (0x2909, "blackwell", "10.0", "open", None),  # among GB100
        (0x31C3, "blackwell", None, "open", None),  # Blackwell, of a kind the list has not
        (0x2E12, "blackwell", None, "open", None),  # GB10: 12.1, which its number does not tell
        (0x1EBA, "turing", "7.5", "either", None),
        (0x2349, "hopper", "9.0", "open", None),  # among GH100 and GH200: open serves both
        (0x1DB9, "volta", "7.0", "proprietary", "580"),
        (0x1394, "maxwell", "5.0", "proprietary", "580"),
        (0x102B, "kepler", None, "proprietary", "470"),  # among 3.5 and 3.7
        (0x4000, None, None, "open", None),  # newer than anything known
    ],
)
def test_an_id_that_is_not_listed_is_placed_by_its_number_and_marked(
    device: int, architecture: str | None, capability: str | None, modules: str, branch: str | None
) -> None:
    found = identify(device)
    assert found == Identity("range", None, None, architecture, capability, modules, branch)


@pytest.mark.parametrize("device", [0x0000, 0x0191, 0x0A65, 0x06BF])
def test_a_gpu_older_than_fermi_is_not_guessed(device: int) -> None:
    assert identify(device) == Identity()


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=0xFFFF))
def test_any_number_is_answered_and_an_inferred_one_never_has_a_name(device: int) -> None:
    found = identify(device)
    assert found.source in ("table", "range", None)
    assert (found.name is not None) == (found.source == "table")


@settings(deadline=None)
@given(st.sampled_from(LISTED), st.integers(min_value=-64, max_value=64))
def test_a_neighbour_is_never_given_an_architecture_that_its_block_has_not(entry: dict[str, str], step: int) -> None:
    device = int(entry["device"], 16) + step
    found = identify(device)
    block = {other["arch"] for other in LISTED if int(other["device"], 16) // 64 == device // 64}
    if found.source == "range" and block and found.architecture:
        assert {found.architecture} == block
