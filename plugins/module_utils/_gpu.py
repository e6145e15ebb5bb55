# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at a machine's GPUs and driver: ask every source, merge what they say, name what is wrong.

Three sources, best first: NVML, nvidia-smi (only where NVML does not answer), and PCI in sysfs. Each field has the best
answer, or None; a source that fails is named in ``sources`` and hides no other.

Ansible brings a module's source to the target and compiles it there on every run. So a machine without anything of
NVIDIA's does not load the parts that read it.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import Any, Dict, List, Optional, Tuple

from ansible_collections.gpulab.workstation.plugins.module_utils._driver_traces import Traces, read_traces
from ansible_collections.gpulab.workstation.plugins.module_utils._gpu_platform import (
    RIVALS,
    fabric_manager_runs,
    read_kernel,
    read_nouveau,
    read_platform,
    read_secure_boot,
    reboot_reasons,
)
from ansible_collections.gpulab.workstation.plugins.module_utils._pci import PciBus, read_bus
from ansible_collections.gpulab.workstation.plugins.module_utils._sessions import name_processes, read_sessions
from ansible_collections.gpulab.workstation.plugins.module_utils._tree import Tree

_NVML = "libnvidia-ml.so.1"

# Where WSL has Windows's driver: found by a login shell, not always by a service.
_WSL_NVML = "/usr/lib/wsl/lib/libnvidia-ml.so.1"
_WSL_NVIDIA_SMI = "/usr/lib/wsl/lib/nvidia-smi"

_NOTHING: Dict[str, Any] = {"driver_version": None, "library_version": None, "cuda_version": None, "gpus": []}
_DRIVER_FIELDS = (
    "installed",
    "package",
    "package_version",
    "fabric_manager",
    "module_file",
    "module_version",
    "module_flavour",
    "module_signed",
    "loaded",
    "library",
    "modules",
    "cuda",
)
_NOT_ASKED: Dict[str, Any] = {"asked": None, "answered": False, "error": None, "code": None}


def look(*, root: str = "/", nvml_library: Optional[str] = None, nvidia_smi: Optional[str] = None) -> Dict[str, Any]:
    """Return what is known of the GPUs of a machine.

    With a ``root`` other than ``/`` the running machine's NVML and nvidia-smi have nothing to say of it, and are asked
    only when they are named. An empty ``nvidia_smi`` is never asked.
    """
    tree = Tree(root)
    bus = read_bus(tree)
    platform = read_platform(tree)
    kernel = read_kernel(tree)
    traces = read_traces(tree)
    likely = bool(bus.nvidia or traces.any or platform["wsl"])
    if likely and tree.live:
        nvml_library = nvml_library or (_WSL_NVML if os.path.exists(_WSL_NVML) else _NVML)
        nvidia_smi = _nvidia_smi_path() if nvidia_smi is None else nvidia_smi
    answer, sources = _ask(nvml_library, nvidia_smi)
    software = _software(tree, traces, kernel, answer) if likely or answer is not _NOTHING else _no_software()
    driver = software["driver"]
    secure_boot = read_secure_boot(tree, container=platform["container"])
    gpus = _gpus(tree, bus, answer, platform)
    if driver["loaded"] and answer is _NOTHING:
        gpus = _with_holders(tree, gpus)
    nouveau = _nouveau(tree, gpus)
    reasons = reboot_reasons(tree, kernel=kernel) + _driver_waits(driver, nouveau)
    machine = {
        "gpus": gpus,
        "other_gpus": bus.others,
        "kernel": kernel,
        **software,
        "nouveau": nouveau,
        "secure_boot": secure_boot.pop("state"),
        "secure_boot_key": secure_boot,
        "nvswitches": bus.nvswitches,
        "fabric_manager_running": fabric_manager_runs(tree) if bus.nvswitches else None,
        "reboot_pending": bool(reasons),
        "reboot_reasons": reasons,
        "sessions": read_sessions(tree),
        "platform": platform,
        "sources": {"pci": _pci_source(bus), **sources},
    }
    return {**machine, "findings": _findings(machine)}


def _ask(library: Optional[str], program: Optional[str]) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    if not (library or program):
        return _NOTHING, {"nvml": dict(_NOT_ASKED), "nvidia_smi": dict(_NOT_ASKED)}
    from ansible_collections.gpulab.workstation.plugins.module_utils._gpu_sources import ask

    answer, sources = ask(library=library, program=program)
    return answer or _NOTHING, sources


def _nvidia_smi_path() -> Optional[str]:
    return shutil.which("nvidia-smi") or (_WSL_NVIDIA_SMI if os.access(_WSL_NVIDIA_SMI, os.X_OK) else None)


def _pci_source(bus: PciBus) -> Dict[str, Any]:
    error = None if bus.readable else "there is no /sys/bus/pci/devices"
    return {**_NOT_ASKED, "asked": "/sys/bus/pci/devices", "answered": bus.readable, "error": error}


def _no_software() -> Dict[str, Any]:
    """What _software() would return as well."""
    return {
        "driver": dict.fromkeys(_DRIVER_FIELDS),
        "dkms": [],
        "device_nodes": {"present": [], "missing": [], "not_permitted": [], "restricted": []},
    }


def _software(tree: Tree, traces: Traces, kernel: Dict[str, Any], answer: Dict[str, Any]) -> Dict[str, Any]:
    from ansible_collections.gpulab.workstation.plugins.module_utils import _driver

    running, installed = kernel["running"], kernel["installed"]
    driver = _with_answer(_driver.read_driver(tree, kernel=running, traces=traces), answer)
    kernel["newer_without_module"] = _driver.newer_without_module(tree, running=running, installed=installed)
    return {
        "driver": driver,
        "dkms": _driver.read_dkms(tree),
        # After NVML, which has them made where they can be made.
        "device_nodes": _driver.read_device_nodes(tree, loaded=bool(driver["loaded"])),
    }


def _with_answer(driver: Dict[str, Any], answer: Dict[str, Any]) -> Dict[str, Any]:
    # NVML writes its own version behind the CUDA major that it was built for: 13.580.95.05.
    library = re.search(r"\d{3}\..*", answer["library_version"] or "")
    return {
        **driver,
        "loaded": driver["loaded"] or answer["driver_version"],
        "library": library.group(0) if library else driver["library"],
        "cuda": answer["cuda_version"],
    }


def _driver_waits(driver: Dict[str, Any], nouveau: Dict[str, Any]) -> List[str]:
    on_disk = driver["module_version"]
    # Until nouveau is kept off the card, a reboot would bring it again.
    running = driver["loaded"] or (nouveau["module"] if nouveau["blacklisted"] else None)
    if running and on_disk and running != on_disk:
        return [f"driver {on_disk} is installed, {running} runs"]
    flavours = [driver["modules"], driver["module_flavour"]]
    if driver["loaded"] and all(flavours) and flavours[0] != flavours[1]:
        return [f"the {flavours[1]} kernel modules are installed, the {flavours[0]} ones run"]
    return []


def _gpus(tree: Tree, bus: PciBus, answer: Dict[str, Any], platform: Dict[str, Any]) -> List[Dict[str, Any]]:
    if not (bus.nvidia or answer["gpus"]):
        return []
    from ansible_collections.gpulab.workstation.plugins.module_utils._gpu_cards import merge

    gpus = merge(bus.nvidia, answer["gpus"])
    for gpu in gpus:
        # In a container NVML tells the host's process numbers, which are others' here.
        nobody = [{**process, "user": None, "name": None} for process in gpu["processes"]]
        gpu["processes"] = nobody if platform["container"] else name_processes(tree, gpu["processes"])
    return gpus


def _with_holders(tree: Tree, gpus: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Return the GPUs with the processes on them, where neither NVML nor nvidia-smi tells of any."""
    from ansible_collections.gpulab.workstation.plugins.module_utils._gpu_holders import read_holders

    holders = read_holders(tree, [gpu["pci_address"] for gpu in gpus])
    return [{**gpu, "processes": name_processes(tree, found)} for gpu, found in zip(gpus, holders)]


def _nouveau(tree: Tree, gpus: List[Dict[str, Any]]) -> Dict[str, Any]:
    held = [gpu["pci_address"] for gpu in gpus if gpu["kernel_driver"] in RIVALS]
    return {**read_nouveau(tree), "holds": held}


def _findings(machine: Dict[str, Any]) -> List[Dict[str, str]]:
    driver, sources = machine["driver"], machine["sources"]
    hardware = machine["gpus"] or machine["other_gpus"]
    software = driver["installed"] or driver["loaded"] or machine["dkms"] or machine["device_nodes"]["present"]
    asked = sources["nvml"]["asked"] or sources["nvidia_smi"]["asked"]
    if not (hardware or software or asked or machine["reboot_pending"] or machine["platform"]["wsl"]):
        return []  # what find() would return as well
    from ansible_collections.gpulab.workstation.plugins.module_utils._findings import find

    return find(machine)
