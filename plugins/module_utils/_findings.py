# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name what is wrong with, or worth knowing of, a machine's GPUs and driver. Pure: from what was seen to what it means.

A rule is a function that returns its messages: none where the finding does not apply. It reads only what was seen; what
is None was not seen, and nothing is concluded from it. docs/gpu_info.md has every code with its meaning.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

Machine = Dict[str, Any]

ERROR, WARNING, INFO = "error", "warning", "info"

_NVML_NO_PERMISSION = 4
_NVML_LIBRARY_NOT_FOUND = 12
_NVML_VERSIONS_DIFFER = 18


class Rule(NamedTuple):
    code: str
    severity: str
    messages: Callable[[Machine], Iterator[str]]
    remedy: str


def find(machine: Machine) -> List[Dict[str, str]]:
    """Return the findings of a machine, errors first."""
    return [
        {"code": rule.code, "severity": rule.severity, "message": message, "remedy": rule.remedy}
        for severity in (ERROR, WARNING, INFO)
        for rule in RULES
        if rule.severity == severity
        for message in rule.messages(machine)
    ]


# ---- what several rules ask ------------------------------------------------------------------------------------------


def _own_gpus(machine: Machine) -> List[Dict[str, Any]]:
    """The GPUs that this machine's own kernel is to drive: not in a container or WSL, not those given to a guest."""
    platform = machine["platform"]
    if platform["container"] or platform["wsl"]:
        return []
    return [gpu for gpu in machine["gpus"] if gpu["state"] != "passed_through"]


def _label(gpu: Dict[str, Any]) -> str:
    name = gpu["name"] or gpu["device_id"] or "a GPU"
    return f"{name} at {gpu['pci_address']}" if gpu["pci_address"] else str(name)


def _needed_modules(gpu: Dict[str, Any]) -> Optional[str]:
    """The only kind of kernel modules a GPU runs on; None where it is served by both, or of a kind not known."""
    return gpu["kernel_modules"] if gpu["architecture"] and gpu["kernel_modules"] != "either" else None


def _branch(version: Optional[str]) -> Optional[int]:
    digits = (version or "").split(".")[0]
    return int(digits) if digits.isdecimal() else None


def _answered(machine: Machine) -> bool:
    sources = machine["sources"]
    return bool(sources["nvml"]["answered"] or sources["nvidia_smi"]["answered"])


def _idle_driver(machine: Machine) -> bool:
    """Whether a driver is installed for GPUs of this machine and does not run."""
    driver = machine["driver"]
    return bool(_own_gpus(machine) and driver["installed"] and not driver["loaded"])


def _any(messages: Iterator[str]) -> bool:
    return next(messages, None) is not None


# ---- the driver ------------------------------------------------------------------------------------------------------


def _driver_absent(machine: Machine) -> Iterator[str]:
    gpus = _own_gpus(machine)
    if gpus and not machine["driver"]["installed"] and not machine["driver"]["loaded"]:
        yield f"No NVIDIA driver is installed for {', '.join(_label(gpu) for gpu in gpus)}."


def _driver_not_loaded(machine: Machine) -> Iterator[str]:
    causes = (_nouveau_in_use, _secure_boot_refuses_module, _dkms_not_built)
    if _idle_driver(machine) and not any(_any(cause(machine)) for cause in causes):
        where = machine["driver"]["module_file"]
        running = machine["kernel"]["running"]
        has_none = f" Kernel {running} has no nvidia module." if running and not where else ""
        yield f"Driver {machine['driver']['installed']} is installed, but its kernel module is not loaded.{has_none}"


def _nouveau_in_use(machine: Machine) -> Iterator[str]:
    nouveau = machine["nouveau"]
    if nouveau["holds"]:
        yield f"The kernel's own driver {nouveau['module'] or 'nouveau'} holds {', '.join(nouveau['holds'])}."


def _secure_boot_refuses_module(machine: Machine) -> Iterator[str]:
    driver, key = machine["driver"], machine["secure_boot_key"]
    if machine["secure_boot"] != "enabled" or not driver["module_file"] or not _idle_driver(machine):
        return
    if driver["module_signed"] is False:
        yield f"Secure Boot is on and {driver['module_file']} is not signed: the kernel refuses it."
    elif key["enrolled"] is False and any(place in driver["module_file"] for place in ("/updates/", "/extra/")):
        yield (
            f"Secure Boot is on and the key {key['certificate']} that signs modules built here is not enrolled:"
            f" the kernel refuses {driver['module_file']}."
        )


def _secure_boot_enabled(machine: Machine) -> Iterator[str]:
    if machine["secure_boot"] == "enabled" and _any(_driver_absent(machine)):
        yield "Secure Boot is on: a driver's kernel module must be signed by a key that this machine trusts."


def _dkms_not_built(machine: Machine) -> Iterator[str]:
    kernel, driver = machine["kernel"], machine["driver"]
    kernels = [kernel["running"]] if kernel["running"] else kernel["installed"]
    if not machine["dkms"] or driver["module_file"] or driver["loaded"] or machine["platform"]["container"]:
        return
    installed = {entry["kernel"] for entry in machine["dkms"] if entry["state"] == "installed"}
    lacking = [name for name in kernels if name not in installed]
    if lacking:
        modules = sorted({f"{entry['module']} {entry['version']}" for entry in machine["dkms"]})
        yield f"DKMS has not built {', '.join(modules)} for kernel {', '.join(lacking)}."


def _next_kernel_without_module(machine: Machine) -> Iterator[str]:
    lacking = machine["kernel"]["newer_without_module"]
    if lacking:
        yield f"Kernel {', '.join(lacking)} is installed, newer than the running one, and has no nvidia module."


def _kernel_headers_missing(machine: Machine) -> Iterator[str]:
    kernel = machine["kernel"]
    builds = machine["dkms"] or not machine["driver"]["installed"]
    if _own_gpus(machine) and builds and kernel["headers"] is False and not machine["driver"]["loaded"]:
        yield f"The headers of the running kernel {kernel['running']} are not installed."


def _driver_mismatch(machine: Machine) -> Iterator[str]:
    driver = machine["driver"]
    loaded, library = driver["loaded"], driver["library"]
    differ = loaded and library and loaded != library and not machine["platform"]["wsl"]
    if differ or machine["sources"]["nvml"]["code"] == _NVML_VERSIONS_DIFFER:
        yield f"The kernel runs driver {loaded or 'of one version'}, the libraries are {library or 'of another'}."


def _library_absent(machine: Machine) -> Iterator[str]:
    driver, nvml = machine["driver"], machine["sources"]["nvml"]
    lacks = not driver["library"] and nvml["code"] == _NVML_LIBRARY_NOT_FOUND
    if driver["loaded"] and lacks and not machine["platform"]["container"]:
        yield f"Driver {driver['loaded']} is loaded, but its library libnvidia-ml.so.1 is not installed."


def _wrong_kernel_modules(machine: Machine) -> Iterator[str]:
    modules = machine["driver"]["modules"]
    for gpu in _own_gpus(machine):
        needed = _needed_modules(gpu)
        if modules and needed and needed != modules:
            yield f"{_label(gpu)} needs the {needed} kernel modules, the driver has the {modules} ones."


def _driver_drops_gpu(machine: Machine) -> Iterator[str]:
    branch = _branch(machine["driver"]["loaded"] or machine["driver"]["installed"])
    for gpu in _own_gpus(machine):
        last = _branch(gpu["last_branch"])
        if branch and last and branch > last:
            yield f"{_label(gpu)} is supported up to driver {last}, and this is {branch}."


def _driver_without_gpu(machine: Machine) -> Iterator[str]:
    driver = machine["driver"]
    version = driver["installed"] or driver["loaded"]
    if (
        version
        and not machine["gpus"]
        and machine["sources"]["pci"]["answered"]
        and not machine["platform"]["container"]
    ):
        yield f"Driver {version} is installed, but there is no NVIDIA GPU on the PCI bus."


def _reboot_pending(machine: Machine) -> Iterator[str]:
    if machine["reboot_pending"]:
        yield f"The machine waits for a reboot: {'; '.join(machine['reboot_reasons'])}."


# ---- the way to the GPU ----------------------------------------------------------------------------------------------


def _device_nodes_missing(machine: Machine) -> Iterator[str]:
    missing = machine["device_nodes"]["missing"]
    if _own_gpus(machine) and machine["driver"]["loaded"] and missing and not _answered(machine):
        yield f"The driver is loaded, but there is no {', '.join(missing)}."


def _device_nodes_not_permitted(machine: Machine) -> Iterator[str]:
    closed = machine["device_nodes"]["not_permitted"]
    if closed:
        yield f"This user may not use {', '.join(closed)}."
    elif machine["sources"]["nvml"]["code"] == _NVML_NO_PERMISSION:
        yield f"The driver does not let this user in: {machine['sources']['nvml']['error']}."


def _device_nodes_restricted(machine: Machine) -> Iterator[str]:
    restricted = machine["device_nodes"]["restricted"]
    if restricted and not machine["device_nodes"]["not_permitted"]:
        yield f"Only the owner and the group of {', '.join(restricted)} may use the GPUs."


def _fabric_manager_absent(machine: Machine) -> Iterator[str]:
    if not machine["driver"]["loaded"] or machine["platform"]["container"]:
        return
    waiting = [gpu for gpu in machine["gpus"] if gpu["fabric"] == "not_started"]
    if machine["nvswitches"] and machine["fabric_manager_running"] is False:
        yield f"{machine['nvswitches']} NVSwitches connect the GPUs, and the fabric manager does not run."
    elif waiting:
        yield f"{len(waiting)} GPUs wait for the fabric manager to connect them."


def _fabric_manager_mismatch(machine: Machine) -> Iterator[str]:
    driver = machine["driver"]
    versions = (driver["fabric_manager"], driver["loaded"])
    if machine["nvswitches"] and all(versions) and versions[0] != versions[1]:
        yield f"The fabric manager is {driver['fabric_manager']}, the driver that runs is {driver['loaded']}."


def _nvidia_smi_unreadable(machine: Machine) -> Iterator[str]:
    source = machine["sources"]["nvidia_smi"]
    if source["error"] and machine["driver"]["loaded"]:
        yield f"nvidia-smi gave no report: {source['error']}."


# ---- the GPUs --------------------------------------------------------------------------------------------------------


def _gpu_lost(machine: Machine) -> Iterator[str]:
    for gpu in machine["gpus"]:
        if gpu["state"] == "lost":
            yield f"{_label(gpu)} has fallen off the bus."


def _gpu_unreadable(machine: Machine) -> Iterator[str]:
    for gpu in machine["gpus"]:
        if gpu["state"] == "unreadable":
            yield f"{_label(gpu)} does not answer: {'; '.join(gpu['errors'][:2]) or 'no reason given'}."


def _gpu_undriven(machine: Machine) -> Iterator[str]:
    explained = _any(_wrong_kernel_modules(machine)) or _any(_driver_drops_gpu(machine))
    for gpu in _own_gpus(machine) if _answered(machine) and not explained else []:
        if gpu["state"] == "undriven" and gpu["pci_address"] not in machine["nouveau"]["holds"]:
            yield f"The driver that runs does not drive {_label(gpu)}."


def _mixed_kernel_modules(machine: Machine) -> Iterator[str]:
    needs = {_needed_modules(gpu): gpu for gpu in _own_gpus(machine)}
    if "open" in needs and "proprietary" in needs:
        yield (
            f"{_label(needs['open'])} runs on the open kernel modules only,"
            f" {_label(needs['proprietary'])} on the proprietary ones only: no driver serves both."
        )


def _ecc_uncorrected(machine: Machine) -> Iterator[str]:
    for gpu in machine["gpus"]:
        count = (gpu["ecc"] or {}).get("uncorrected")
        if count:
            yield f"{_label(gpu)} has had {count} uncorrected memory errors since the driver was loaded."


def _ecc_corrected(machine: Machine) -> Iterator[str]:
    for gpu in machine["gpus"]:
        count = (gpu["ecc"] or {}).get("corrected")
        if count:
            yield f"{_label(gpu)} has corrected {count} memory errors since the driver was loaded."


def _row_remap_failed(machine: Machine) -> Iterator[str]:
    for gpu in machine["gpus"]:
        if (gpu["ecc"] or {}).get("remap_failed"):
            yield f"{_label(gpu)} has no spare memory left to replace a bad row."


def _row_remap_pending(machine: Machine) -> Iterator[str]:
    for gpu in machine["gpus"]:
        if (gpu["ecc"] or {}).get("remap_pending"):
            yield f"{_label(gpu)} replaces a bad row of memory at its next reset."


def _mode_change_pending(machine: Machine) -> Iterator[str]:
    for gpu in machine["gpus"]:
        for mode in ("ecc", "mig"):
            switch = gpu[mode] or {"current": None, "pending": None}
            if switch["pending"] is not None and switch["current"] != switch["pending"]:
                yield f"{_label(gpu)} turns {mode.upper()} {'on' if switch['pending'] else 'off'} at its next reset."


def _mig_enabled(machine: Machine) -> Iterator[str]:
    for gpu in machine["gpus"]:
        if (gpu["mig"] or {}).get("current"):
            yield f"{_label(gpu)} is partitioned (MIG): a program sees one instance, never the whole GPU."


def _pcie_link_narrow(machine: Machine) -> Iterator[str]:
    for gpu in machine["gpus"]:
        now, most = gpu["pcie"]["width"], gpu["pcie"]["width_max"]
        if now and most and now < most:
            yield f"{_label(gpu)} uses {now} of its {most} PCIe lanes."


def _gpu_inferred(machine: Machine) -> Iterator[str]:
    for gpu in machine["gpus"]:
        if gpu["identified_by"] == "range":
            kind = gpu["architecture"] or "Turing or later"
            yield f"{_label(gpu)} is not in this collection's list: {kind}, by its number."


def _gpu_unknown(machine: Machine) -> Iterator[str]:
    for gpu in machine["gpus"]:
        if gpu["identified_by"] is None:
            yield f"{_label(gpu)} is not known."


def _mixed_generations(machine: Machine) -> Iterator[str]:
    architectures = sorted({gpu["architecture"] for gpu in machine["gpus"] if gpu["architecture"]})
    if len(architectures) > 1:
        yield f"GPUs of different generations: {', '.join(architectures)}."


# ---- the machine around them -----------------------------------------------------------------------------------------


def _only_other_vendors(machine: Machine) -> Iterator[str]:
    others = sorted({gpu["vendor"] or gpu["vendor_id"] for gpu in machine["other_gpus"]})
    if others and not machine["gpus"]:
        yield f"There is no NVIDIA GPU here, only graphics of {', '.join(others)}."


def _hybrid_graphics(machine: Machine) -> Iterator[str]:
    if machine["platform"]["laptop"] and machine["gpus"] and machine["other_gpus"]:
        others = sorted({gpu["vendor"] or gpu["vendor_id"] for gpu in machine["other_gpus"]})
        yield f"A laptop with two GPUs: {', '.join(others)} beside {_label(machine['gpus'][0])}."


def _gpu_passed_through(machine: Machine) -> Iterator[str]:
    for gpu in machine["gpus"]:
        if gpu["state"] == "passed_through":
            yield f"{_label(gpu)} is given to a virtual machine ({gpu['kernel_driver']})."


def _gpu_in_virtual_machine(machine: Machine) -> Iterator[str]:
    platform = machine["platform"]
    if _own_gpus(machine) and platform["virtualization"]:
        yield f"This is a virtual machine ({platform['virtualization']}) that a GPU was given to."


def _container_with_host_driver(machine: Machine) -> Iterator[str]:
    platform = machine["platform"]
    if platform["container"] and machine["gpus"] and _answered(machine):
        yield f"This is a container ({platform['container']}); driver {machine['driver']['loaded']} is the host's."


def _container_without_gpu(machine: Machine) -> Iterator[str]:
    platform = machine["platform"]
    if platform["container"] and (machine["gpus"] or machine["driver"]["loaded"]) and not _answered(machine):
        yield f"This container ({platform['container']}) was not given the GPU that its host has."


def _wsl(machine: Machine) -> Iterator[str]:
    if machine["platform"]["wsl"]:
        yield "This is WSL: the driver is the one of Windows."


RULES = (
    Rule(
        "driver_absent",
        ERROR,
        _driver_absent,
        "Install the driver; role nvidia_driver does, for every GPU and system it knows.",
    ),
    Rule(
        "driver_not_loaded",
        ERROR,
        _driver_not_loaded,
        "Reboot; if it stays so, `modprobe nvidia` and the kernel log say why.",
    ),
    Rule(
        "nouveau_in_use",
        ERROR,
        _nouveau_in_use,
        "Blacklist it, rebuild the initramfs and reboot; role nvidia_driver does.",
    ),
    Rule(
        "secure_boot_refuses_module",
        ERROR,
        _secure_boot_refuses_module,
        "Enrol the key (`mokutil --import`, confirm at the console), or use the distribution's signed modules.",
    ),
    Rule(
        "dkms_not_built",
        ERROR,
        _dkms_not_built,
        "Install that kernel's headers, then `dkms autoinstall -k KERNEL`; /var/lib/dkms/…/make.log tells more.",
    ),
    Rule("driver_mismatch", ERROR, _driver_mismatch, "Reboot: the driver was upgraded while the old one was running."),
    Rule("library_absent", ERROR, _library_absent, "Install the driver's libraries in the version of the module."),
    Rule(
        "wrong_kernel_modules", ERROR, _wrong_kernel_modules, "Install the other kind of kernel modules, then reboot."
    ),
    Rule(
        "driver_drops_gpu",
        ERROR,
        _driver_drops_gpu,
        "Install the last driver branch that supports the GPU, and hold it.",
    ),
    Rule(
        "mixed_kernel_modules",
        ERROR,
        _mixed_kernel_modules,
        "Keep one kind of GPU in the machine, or give the other to a guest.",
    ),
    Rule(
        "device_nodes_missing",
        ERROR,
        _device_nodes_missing,
        "Run `nvidia-modprobe`, or nvidia-persistenced at every boot.",
    ),
    Rule(
        "device_nodes_not_permitted",
        ERROR,
        _device_nodes_not_permitted,
        "Add the user to the group of the nodes; in a container or a job, ask for the GPU.",
    ),
    Rule(
        "fabric_manager_absent",
        ERROR,
        _fabric_manager_absent,
        "Install and start nvidia-fabricmanager of the driver's very version.",
    ),
    Rule(
        "fabric_manager_mismatch",
        ERROR,
        _fabric_manager_mismatch,
        "Install nvidia-fabricmanager of the driver's very version.",
    ),
    Rule(
        "container_without_gpu",
        ERROR,
        _container_without_gpu,
        "Start it with the NVIDIA container toolkit (`--gpus all`, `--device nvidia.com/gpu=all`).",
    ),
    Rule(
        "gpu_lost",
        ERROR,
        _gpu_lost,
        "Power the machine off and on; if it comes back, look at seating, power and cooling.",
    ),
    Rule("gpu_unreadable", ERROR, _gpu_unreadable, "Look for NVRM and Xid in the kernel log; reset the GPU or reboot."),
    Rule(
        "gpu_undriven",
        ERROR,
        _gpu_undriven,
        "Look for NVRM in the kernel log: the driver says there why it left the GPU alone.",
    ),
    Rule(
        "ecc_uncorrected",
        ERROR,
        _ecc_uncorrected,
        "Results may be wrong: reset the GPU; if it happens again, replace it.",
    ),
    Rule("row_remap_failed", ERROR, _row_remap_failed, "Replace the GPU."),
    Rule(
        "next_kernel_without_module",
        WARNING,
        _next_kernel_without_module,
        "Build it before the next reboot: `dkms autoinstall -k KERNEL`, with the headers of that kernel.",
    ),
    Rule(
        "kernel_headers_missing",
        WARNING,
        _kernel_headers_missing,
        "Install them; role os_prep does. Precompiled modules need none.",
    ),
    Rule(
        "driver_without_gpu",
        WARNING,
        _driver_without_gpu,
        "Right for an image; else check that the card is seated and powered.",
    ),
    Rule("reboot_pending", WARNING, _reboot_pending, "Reboot when nobody works on the machine."),
    Rule("row_remap_pending", WARNING, _row_remap_pending, "Reset the GPU or reboot when no job runs."),
    Rule("mode_change_pending", WARNING, _mode_change_pending, "Reset the GPU or reboot when no job runs."),
    Rule(
        "gpu_unknown",
        WARNING,
        _gpu_unknown,
        "Older than driver 390 serves, or no number was readable: no TensorFlow runs on it.",
    ),
    Rule("nvidia_smi_unreadable", WARNING, _nvidia_smi_unreadable, "Run `nvidia-smi -q -x` by hand."),
    Rule(
        "secure_boot_enabled",
        INFO,
        _secure_boot_enabled,
        "Have the console at hand for the first reboot, or use precompiled modules.",
    ),
    Rule("device_nodes_restricted", INFO, _device_nodes_restricted, "Add those who need the GPUs to the group."),
    Rule("ecc_corrected", INFO, _ecc_corrected, "Nothing to do; many in a short time announce worse."),
    Rule("mig_enabled", INFO, _mig_enabled, "Choose an instance by its UUID, or turn MIG off: `nvidia-smi -mig 0`."),
    Rule("pcie_link_narrow", INFO, _pcie_link_narrow, "Often the slot; where it is not, reseat the card."),
    Rule("gpu_inferred", INFO, _gpu_inferred, "Update the collection."),
    Rule("mixed_generations", INFO, _mixed_generations, "The stack has to suit the oldest and the newest of them."),
    Rule("only_other_vendors", INFO, _only_other_vendors, "CUDA needs an NVIDIA GPU: this machine gets the CPU build."),
    Rule("hybrid_graphics", INFO, _hybrid_graphics, "CUDA works as it is; PRIME decides which GPU draws the desktop."),
    Rule("gpu_passed_through", INFO, _gpu_passed_through, "Its driver belongs into the guest."),
    Rule("gpu_in_virtual_machine", INFO, _gpu_in_virtual_machine, "Nothing to do."),
    Rule("container_with_host_driver", INFO, _container_with_host_driver, "Change the driver on the host, never here."),
    Rule("wsl", INFO, _wsl, "Update the driver in Windows; never install one here."),
)
