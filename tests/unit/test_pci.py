# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Graphics devices on the PCI bus: each once, none missed, nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils._pci import PciBus, normal_address, read_bus
from ansible_collections.gpulab.workstation.plugins.module_utils._tree import Tree
from support.pci_tree import AUDIO, DISPLAY, NVSWITCH, THREE_D, VGA, MachineTree


def bus_of(machine: MachineTree) -> PciBus:
    return read_bus(Tree(str(machine.root)))


def gpu_of(machine: MachineTree) -> dict[str, Any]:
    (gpu,) = bus_of(machine).nvidia
    return gpu


@pytest.mark.parametrize("kind", [VGA, THREE_D, DISPLAY])
def test_every_display_class_counts_and_the_audio_function_does_not(tmp_path: Path, kind: str) -> None:
    assert gpu_of(MachineTree(tmp_path).gpu("0x2684", kind=kind))["pci_address"] == "0000:01:00.0"


def test_gpus_come_in_the_order_of_their_addresses(tmp_path: Path) -> None:
    machine = MachineTree(tmp_path).gpu("0x2684", address="0000:c1:00.0").gpu("0x2330", address="0000:01:00.0")
    assert [gpu["device_id"] for gpu in bus_of(machine).nvidia] == ["0x2330", "0x2684"]


def test_a_virtual_function_is_not_counted_beside_its_gpu(tmp_path: Path) -> None:
    machine = MachineTree(tmp_path).gpu("0x20b2").device("0000:01:00.4", "0x10de", "0x20b2", THREE_D)
    machine.link("sys/devices/pci0000:00/0000:01:00.4/physfn", "../0000:01:00.0")
    assert len(bus_of(machine).nvidia) == 1


def test_graphics_of_other_vendors_are_listed_apart_with_the_vendors_name(tmp_path: Path) -> None:
    machine = MachineTree(tmp_path).device("0000:00:02.0", "0x8086", "0x4680", VGA)
    machine.device("0000:03:00.0", "0x1002", "0x744c", VGA).device("0000:04:00.0", "0x9999", "0x0001", VGA)
    machine.device("0000:00:1f.3", "0x8086", "0x7ad0", AUDIO)
    bus = bus_of(machine)
    assert bus.nvidia == []
    assert [gpu["vendor"] for gpu in bus.others] == ["Intel", "AMD", None]


def test_nvswitches_are_counted_and_the_bridges_of_old_chipsets_are_not(tmp_path: Path) -> None:
    machine = MachineTree(tmp_path).device("0000:00:05.0", "0x10de", "0x0369", NVSWITCH)
    for number in range(4):
        machine.device(f"0000:c{number}:00.0", "0x10de", "0x22a3", NVSWITCH)
    assert bus_of(machine).nvswitches == 4


def test_the_link_is_told_without_a_driver(tmp_path: Path) -> None:
    gpu = gpu_of(MachineTree(tmp_path).gpu("0x2684"))
    assert gpu["pcie"] == {"generation": 1, "generation_max": 4, "width": 16, "width_max": 16}


@pytest.mark.parametrize(
    ("name", "content", "key"),
    [
        ("current_link_speed", "Unknown", "generation"),
        ("current_link_speed", "Unknown speed", "generation"),
        ("current_link_width", "0", "width"),
        ("max_link_width", "255", "width_max"),
        ("max_link_width", "", "width_max"),
    ],
)
def test_a_link_that_the_kernel_does_not_know_is_none(tmp_path: Path, name: str, content: str, key: str) -> None:
    machine = MachineTree(tmp_path).gpu("0x2684").pci_file("0000:01:00.0", name, content)
    assert gpu_of(machine)["pcie"][key] is None


@pytest.mark.parametrize(("status", "attached"), [("connected", True), ("disconnected", False)])
def test_a_screen_is_seen_at_the_connectors(tmp_path: Path, status: str, attached: bool) -> None:
    machine = MachineTree(tmp_path).gpu("0x2684").pci_file("0000:01:00.0", "drm/card1/card1-DP-1/status", status)
    assert gpu_of(machine)["display_attached"] is attached


def test_without_connectors_to_ask_a_screen_is_not_known_unless_the_gpu_can_have_none(tmp_path: Path) -> None:
    assert gpu_of(MachineTree(tmp_path / "card").gpu("0x2684"))["display_attached"] is None
    assert gpu_of(MachineTree(tmp_path / "a100").gpu("0x20b2", kind=THREE_D))["display_attached"] is False


def test_a_gpu_that_answers_with_all_bits_set_has_fallen_off_the_bus(tmp_path: Path) -> None:
    machine = MachineTree(tmp_path).gpu("0x2684").pci_file("0000:01:00.0", "config", b"\xff" * 64)
    assert gpu_of(machine)["lost"] is True


def test_a_sleeping_gpu_is_not_woken_to_be_read(tmp_path: Path) -> None:
    machine = MachineTree(tmp_path).gpu("0x2684").pci_file("0000:01:00.0", "config", b"\xff" * 64)
    machine.pci_file("0000:01:00.0", "power/runtime_status", "suspended\n")
    assert gpu_of(machine)["lost"] is False


def test_a_tree_without_a_bus_says_so(tmp_path: Path) -> None:
    assert read_bus(Tree(str(tmp_path))) == PciBus([], [], 0, readable=False)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("00000000:01:00.0", "0000:01:00.0"),
        ("0000:C1:00.0", "0000:c1:00.0"),
        ("00010000:01:00.0", "10000:01:00.0"),  # an Intel VMD domain
        ("01:00.0", None),
        ("N/A", None),
        ("", None),
        (None, None),
    ],
)
def test_addresses_are_written_the_kernels_way(written: str | None, normal: str | None) -> None:
    assert normal_address(written) == normal
