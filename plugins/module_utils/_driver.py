# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's driver as files and the kernel show it: what is installed, what is loaded, and what stands in its way."""

from __future__ import annotations

import os
import re
import stat
from typing import Any, Dict, List, Optional

from ansible_collections.gpulab.workstation.plugins.module_utils._driver_module import ModuleFile, find_module
from ansible_collections.gpulab.workstation.plugins.module_utils._driver_traces import Traces
from ansible_collections.gpulab.workstation.plugins.module_utils._gpu_platform import numbers
from ansible_collections.gpulab.workstation.plugins.module_utils._tree import Tree

_VERSION = re.compile(r"\d{3}\.\d+(?:\.\d+)*")
_BANNER = re.compile(r"NVRM version: NVIDIA UNIX (Open )?.*?Kernel Module.*?\s(\d{3}\.\d+(?:\.\d+)*)\s")

# The package that stands for the driver, most telling first. All carry the driver's own version.
_PACKAGES = (
    r"nvidia-driver(-\d+)?(-server)?(-open)?",
    r"nvidia-open(-\d+)?",
    r"cuda-drivers(-\d+)?",
    r"nvidia-driver-cuda",
    r"nvidia-headless(-no-dkms)?-\d+(-server)?(-open)?",
    r"kmod-nvidia-.*",
    r"nvidia-(kernel-dkms|kernel-open-dkms|open-kernel-dkms|dkms-.*)",
    r"nvidia-tesla-\d+-(driver|kernel-dkms)",
    r"libnvidia-compute(-.*)?",
    r"libcuda1",
    r"libnvidia-ml1",
)
_OPEN_PACKAGE = re.compile(r"nvidia.*-open(-.*)?$|kmod-nvidia-open.*")
_PROPRIETARY_PACKAGE = re.compile(
    r"nvidia-((tesla-\d+-)?kernel-dkms|dkms|(dkms|headless|headless-no-dkms|kernel-source)-\d+(-server)?)$"
    r"|kmod-nvidia-latest.*|cuda-drivers.*"
)


def read_driver(tree: Tree, *, kernel: Optional[str], traces: Traces) -> Dict[str, Any]:
    """Return the driver's versions: of its package, its module on disk, its running module, its library."""
    packages = traces.packages
    package = _telling_package(packages)
    module = find_module(tree, kernel)
    banner = tree.text("proc/driver/nvidia/version") or ""
    loaded = _loaded(tree, banner)
    return {
        "installed": _version(packages.get(package or "")) or (module.version if module else None) or traces.library,
        "package": package,
        "package_version": packages.get(package or ""),
        "fabric_manager": _fabric_manager(packages),
        "module_file": module.path if module else None,
        "module_version": module.version if module else None,
        "module_flavour": _flavour_on_disk(module, packages),
        "module_signed": module.signed if module else None,
        "loaded": loaded,
        "library": traces.library,
        "modules": _flavour(banner, loaded, module, packages),
        "cuda": None,
    }


def read_dkms(tree: Tree) -> List[Dict[str, Optional[str]]]:
    """Return what DKMS has made of NVIDIA's modules: added (source only), built, or installed for a kernel."""
    states: List[Dict[str, Optional[str]]] = []
    for module in tree.names("var/lib/dkms"):
        if not module.startswith("nvidia"):
            continue
        # kernel-<kernel>-<architecture> is a link to the build that is installed for that kernel.
        links = [name for name in tree.names(f"var/lib/dkms/{module}") if name.startswith("kernel-")]
        for version in tree.names(f"var/lib/dkms/{module}"):
            if version in links or not _VERSION.match(version):
                continue
            base = f"var/lib/dkms/{module}/{version}"
            kernels = [name for name in tree.names(base) if name not in ("source", "build")]
            if not kernels:
                states.append({"module": module, "version": version, "kernel": None, "state": "added"})
            for kernel in kernels:
                installed = any(link.startswith(f"kernel-{kernel}-") for link in links)
                state = "installed" if installed else "built" if _built(tree, f"{base}/{kernel}") else "added"
                states.append({"module": module, "version": version, "kernel": kernel, "state": state})
    return states


def read_device_nodes(tree: Tree, *, loaded: bool) -> Dict[str, List[str]]:
    """Return the device nodes that programs reach the GPUs by, those that are missing, and those closed to this user.

    nvidia-uvm is never missed: the first CUDA program makes it.
    """
    expected = ["nvidiactl", *(f"nvidia{minor}" for minor in _minors(tree))] if loaded else []
    present = [name for name in [*expected, "nvidia-uvm"] if tree.exists(f"dev/{name}")]
    closed = [name for name in present if not os.access(tree.path(f"dev/{name}"), os.R_OK | os.W_OK)]
    return {
        "present": [f"/dev/{name}" for name in present],
        "missing": [f"/dev/{name}" for name in expected if name not in present],
        "not_permitted": [f"/dev/{name}" for name in closed],
        "restricted": [f"/dev/{name}" for name in present if _restricted(tree.path(f"dev/{name}"))],
    }


def newer_without_module(tree: Tree, *, running: Optional[str], installed: List[str]) -> List[str]:
    """The kernels that a reboot may lead to and that have no module, where the running one has."""
    if running is None or find_module(tree, running) is None:
        return []
    newer = [name for name in installed if numbers(name) > numbers(running)]
    bootable = [name for name in newer if tree.exists(f"lib/modules/{name}/modules.dep")]
    return [name for name in bootable if find_module(tree, name) is None]


def _loaded(tree: Tree, banner: str) -> Optional[str]:
    match = _BANNER.search(banner + " ")
    return _version(tree.text("sys/module/nvidia/version")) or (match.group(2) if match else None)


def _flavour(
    banner: str, loaded: Optional[str], module: Optional[ModuleFile], packages: Dict[str, str]
) -> Optional[str]:
    """Open or proprietary: of the module that runs, else of the one that would be loaded."""
    match = _BANNER.search(banner + " ")
    if match or loaded:
        return None if not match else "open" if match.group(1) else "proprietary"
    return _flavour_on_disk(module, packages)


def _flavour_on_disk(module: Optional[ModuleFile], packages: Dict[str, str]) -> Optional[str]:
    """Open or proprietary: of the module that would be loaded, where its file tells, else by the package."""
    if module and module.flavour:
        return module.flavour
    if any(_OPEN_PACKAGE.match(name) for name in packages):
        return "open"
    return "proprietary" if any(_PROPRIETARY_PACKAGE.match(name) for name in packages) else None


def _telling_package(packages: Dict[str, str]) -> Optional[str]:
    for pattern in _PACKAGES:
        for name in sorted(packages):
            if re.fullmatch(pattern, name) and _version(packages[name]):
                return name
    return None


def _fabric_manager(packages: Dict[str, str]) -> Optional[str]:
    versions = [packages[name] for name in packages if re.match(r"nvidia-fabric-?manager", name)]
    return _version(versions[0]) if versions else None


def _version(text: Optional[str]) -> Optional[str]:
    """The driver's version in a package's (580.95.05-0ubuntu1, 3:580.95.05-1.el9)."""
    match = _VERSION.search(text or "")
    return match.group(0) if match else None


def _built(tree: Tree, kernel: str) -> bool:
    return any(tree.names(f"{kernel}/{architecture}/module") for architecture in tree.names(kernel))


def _minors(tree: Tree) -> List[str]:
    gpus = "proc/driver/nvidia/gpus"
    texts = (tree.text(f"{gpus}/{address}/information") or "" for address in tree.names(gpus))
    matches = (re.search(r"^Device Minor:\s*(\d+)", text, re.MULTILINE) for text in texts)
    return sorted(match.group(1) for match in matches if match)


def _restricted(path: str) -> bool:
    """Whether users that are neither the owner nor in the group may not use a node."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return mode & (stat.S_IROTH | stat.S_IWOTH) != stat.S_IROTH | stat.S_IWOTH
