# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every NVIDIA GPU once: what the bus says of it, what the driver says of it, what its number says."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ansible_collections.gpulab.workstation.plugins.module_utils._gpu_identity import Identity, identify
from ansible_collections.gpulab.workstation.plugins.module_utils._pci import NVIDIA

_PASSED_THROUGH = ("vfio-pci", "pci-stub", "xen-pciback")


def merge(devices: List[Dict[str, Any]], readings: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Return the GPUs on the bus with the driver's readings of them, then those that only the driver knows (WSL)."""
    told = {reading["pci_address"]: reading for reading in readings if reading["pci_address"]}
    nameless = [reading for reading in readings if not reading["pci_address"]]
    untold = [device["pci_address"] for device in devices if device["pci_address"] not in told]
    if len(nameless) == len(untold):
        # A GPU that is lost does not tell its address; where as many are missing, those are the ones.
        told.update(zip(untold, nameless))
        nameless = []
    gpus = [_gpu(device, told.pop(device["pci_address"], None)) for device in devices]
    gpus += [_gpu({}, reading) for reading in [*told.values(), *nameless]]
    if not readings:
        # No driver numbers them yet. All of NVIDIA's tools will, by address.
        return [{**gpu, "index": index} for index, gpu in enumerate(gpus)]
    return gpus


def _gpu(device: Dict[str, Any], reading: Optional[Dict[str, Any]]) -> Dict[str, Any]:
    """One GPU from what the bus and the driver say of it, either of which may say nothing."""
    told = reading or {}

    def best(key: str) -> Any:
        return told.get(key) if told.get(key) is not None else device.get(key)

    identity = _identity(best("device_id"))
    on_bus = device.get("display_attached")
    pcie = {**(device.get("pcie") or dict.fromkeys(("generation", "generation_max", "width", "width_max")))}
    pcie.update((key, value) for key, value in (told.get("pcie") or {}).items() if value is not None)
    return {
        "index": told.get("index"),
        "pci_address": device.get("pci_address") or told.get("pci_address"),
        "vendor_id": NVIDIA,
        "device_id": best("device_id"),
        "subsystem_id": best("subsystem_id"),
        "name": told.get("name") or identity.name,
        "chip": identity.chip,
        "architecture": told.get("architecture") or identity.architecture,
        "compute_capability": told.get("compute_capability") or identity.compute_capability,
        "identified_by": _identified_by(told, identity),
        "kernel_modules": identity.kernel_modules,
        "last_branch": identity.last_branch,
        "kernel_driver": device.get("kernel_driver"),
        "uuid": told.get("uuid"),
        "memory_mib": told.get("memory_mib"),
        "memory_used_mib": told.get("memory_used_mib"),
        "ecc": told.get("ecc"),
        "mig": told.get("mig"),
        "power_limit_w": told.get("power_limit_w"),
        "persistence": told.get("persistence"),
        "pcie": pcie,
        # The connectors know best: NVIDIA's own flag is on for GPUs that have none (A100).
        "display_attached": told.get("display_attached") if on_bus is None else on_bus,
        "boot_display": device.get("boot_display"),
        "fabric": told.get("fabric"),
        "state": _state(device, reading),
        "processes": told.get("processes") or [],
        "errors": told.get("errors") or [],
    }


def _identity(device_id: Optional[str]) -> Identity:
    try:
        return identify(int(device_id or "", 16))
    except ValueError:
        return Identity()


def _identified_by(told: Dict[str, Any], identity: Identity) -> Optional[str]:
    if told.get("compute_capability"):
        return "nvml"
    if identity.source == "table" or not told.get("architecture"):
        return identity.source
    return "nvidia_smi"


def _state(device: Dict[str, Any], reading: Optional[Dict[str, Any]]) -> str:
    if device.get("kernel_driver") in _PASSED_THROUGH:
        return "passed_through"
    if reading is not None:
        return str(reading["state"])
    return "lost" if device.get("lost") else "undriven"
