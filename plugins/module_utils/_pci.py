# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The graphics devices on the PCI bus, from sysfs: there with any driver and with none."""

from __future__ import annotations

import re
from typing import Any, Dict, List, NamedTuple, Optional

from ansible_collections.gpulab.workstation.plugins.module_utils._tree import Tree

NVIDIA = "0x10de"

_DEVICES = "sys/bus/pci/devices"

# VGA controller, 3D controller, display controller. The audio function (0x0403) of the same card is none of them.
_WITHOUT_SCREEN = "0x0302"
_DISPLAY_CLASSES = ("0x0300", _WITHOUT_SCREEN, "0x0380")
_OTHER_BRIDGE = "0x0680"

# The bridges of NVIDIA's mainboard chipsets, which share the class, have lower ids than any NVSwitch.
_FIRST_NVSWITCH = 0x1AC0

_VENDORS = {"0x1002": "AMD", "0x8086": "Intel", "0x1a03": "ASPEED", "0x102b": "Matrox", "0x1234": "QEMU"}
_VENDORS.update({"0x15ad": "VMware", "0x1af4": "Red Hat (virtio)", "0x1b36": "Red Hat (QXL)", "0x1414": "Microsoft"})

# Transfer rate of one lane in GT/s -> generation of PCI Express.
_GENERATIONS = {
    "2.5": 1,
    "5.0": 2,
    "5": 2,
    "8.0": 3,
    "8": 3,
    "16.0": 4,
    "16": 4,
    "32.0": 5,
    "32": 5,
    "64.0": 6,
    "64": 6,
}


class PciBus(NamedTuple):
    nvidia: List[Dict[str, Any]]
    others: List[Dict[str, Any]]
    nvswitches: int
    readable: bool


def read_bus(tree: Tree) -> PciBus:
    """Return every graphics device once, by address. A virtual function of a GPU is not a device of its own."""
    addresses = tree.names(_DEVICES)
    bus = PciBus([], [], 0, readable=bool(addresses) or tree.exists(_DEVICES))
    for address in addresses:
        device = f"{_DEVICES}/{address}"
        vendor, kind = tree.text(f"{device}/vendor"), (tree.text(f"{device}/class") or "")[:6]
        if kind == _OTHER_BRIDGE and vendor == NVIDIA and _number(tree.text(f"{device}/device")) >= _FIRST_NVSWITCH:
            bus = bus._replace(nvswitches=bus.nvswitches + 1)
        elif kind in _DISPLAY_CLASSES and vendor == NVIDIA and tree.link_name(f"{device}/physfn") is None:
            bus.nvidia.append(_nvidia_device(tree, address, kind))
        elif kind in _DISPLAY_CLASSES and vendor and vendor != NVIDIA:
            bus.others.append(_other_device(tree, address, vendor))
    return bus


def normal_address(address: Optional[str]) -> Optional[str]:
    """Return an address as the kernel writes it: NVIDIA's tools write ``00000000:01:00.0`` for ``0000:01:00.0``."""
    parts = re.fullmatch(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])", (address or "").strip().lower())
    if not parts:
        return None
    domain, bus, device, function = parts.groups()
    return f"{int(domain, 16):04x}:{bus}:{device}.{function}"


def _nvidia_device(tree: Tree, address: str, kind: str) -> Dict[str, Any]:
    device = f"{_DEVICES}/{address}"
    return {
        "pci_address": address,
        "device_id": tree.text(f"{device}/device"),
        "subsystem_id": _subsystem(tree, device),
        "kernel_driver": tree.link_name(f"{device}/driver"),
        "boot_display": tree.text(f"{device}/boot_vga") == "1",
        "display_attached": _display_attached(tree, device, kind),
        "lost": _lost(tree, device),
        "pcie": {
            "generation": _generation(tree.text(f"{device}/current_link_speed")),
            "generation_max": _generation(tree.text(f"{device}/max_link_speed")),
            "width": _width(tree.text(f"{device}/current_link_width")),
            "width_max": _width(tree.text(f"{device}/max_link_width")),
        },
    }


def _other_device(tree: Tree, address: str, vendor: str) -> Dict[str, Any]:
    device_id = tree.text(f"{_DEVICES}/{address}/device")
    return {"pci_address": address, "vendor_id": vendor, "device_id": device_id, "vendor": _VENDORS.get(vendor)}


def _subsystem(tree: Tree, device: str) -> Optional[str]:
    vendor, model = tree.text(f"{device}/subsystem_vendor"), tree.text(f"{device}/subsystem_device")
    return f"{vendor[2:]}:{model[2:]}" if vendor and model else None


def _display_attached(tree: Tree, device: str, kind: str) -> Optional[bool]:
    """Whether a connector has a screen; None where there may be connectors and no driver offers them to be asked."""
    cards = [f"{device}/drm/{name}" for name in tree.names(f"{device}/drm") if re.fullmatch(r"card\d+", name)]
    connectors = [f"{card}/{name}" for card in cards for name in tree.names(card) if re.match(r"card\d+-", name)]
    if not connectors:
        return False if kind == _WITHOUT_SCREEN else None
    return any(tree.text(f"{connector}/status") == "connected" for connector in connectors)


def _lost(tree: Tree, device: str) -> bool:
    """Whether the device answers with all bits set, as one that has fallen off the bus does.

    A GPU that sleeps is left alone: to read its configuration space would wake it.
    """
    if tree.text(f"{device}/power/runtime_status") == "suspended":
        return False
    return tree.data(f"{device}/config", 4) == b"\xff\xff\xff\xff"


def _generation(speed: Optional[str]) -> Optional[int]:
    return _GENERATIONS.get((speed or "").split(" ")[0])


def _width(width: Optional[str]) -> Optional[int]:
    lanes = _number(width, base=10)
    return lanes if 1 <= lanes <= 32 else None  # 0, 255: the link's state is not known


def _number(text: Optional[str], base: int = 16) -> int:
    try:
        return int(text or "", base)
    except ValueError:
        return -1
