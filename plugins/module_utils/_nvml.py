# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask NVIDIA's management library (NVML) about its GPUs: by ctypes, one call a field, no process started.

Signatures and numbers are those of nvidia-ml-py 13.615. They have been stable since driver 450, the oldest meant here;
a function that an older library lacks answers like one that is not supported.
"""

from __future__ import annotations

import ctypes
from typing import Any, Callable, Dict, List, Optional, Tuple

from ansible_collections.gpulab.workstation.plugins.module_utils._pci import normal_address

NOT_SUPPORTED = 3
NO_PERMISSION = 4
INSUFFICIENT_SIZE = 7
DRIVER_NOT_LOADED = 9
LIBRARY_NOT_FOUND = 12
FUNCTION_NOT_FOUND = 13
GPU_IS_LOST = 15
VERSIONS_DIFFER = 18

_ARCHITECTURES = {2: "kepler", 3: "maxwell", 4: "pascal", 5: "volta", 6: "turing", 7: "ampere", 8: "ada"}
_ARCHITECTURES.update({9: "hopper", 10: "blackwell", 13: "rubin"})

_FABRIC_STATES = {1: "not_started", 2: "in_progress", 3: "completed"}

_MIB = 1 << 20


class NvmlError(Exception):
    """A call that NVML refused, with NVML's own number and words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} (NVML error {code})")
        self.code = code


class _PciInfo(ctypes.Structure):
    _fields_ = [
        ("bus_id_legacy", ctypes.c_char * 16),
        ("domain", ctypes.c_uint),
        ("bus", ctypes.c_uint),
        ("device", ctypes.c_uint),
        ("device_id", ctypes.c_uint),
        ("subsystem_id", ctypes.c_uint),
        ("bus_id", ctypes.c_char * 32),
    ]


class _Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


class _Process(ctypes.Structure):
    _fields_ = [
        ("pid", ctypes.c_uint),
        ("memory", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    ]


class _FirstProcess(ctypes.Structure):
    """What the process functions filled in before they had a version in their names (drivers before 470)."""

    _fields_ = [("pid", ctypes.c_uint), ("memory", ctypes.c_ulonglong)]


class _Fabric(ctypes.Structure):
    _fields_ = [
        ("cluster", ctypes.c_ubyte * 16),
        ("status", ctypes.c_uint),
        ("clique", ctypes.c_uint),
        ("state", ctypes.c_ubyte),
    ]


def query(library: str) -> Dict[str, Any]:
    """Return versions and GPUs as NVML tells them, or raise NvmlError when it tells nothing."""
    nvml = _Library(library)
    nvml.call("nvmlInit_v2")
    try:
        cuda = nvml.ask(lambda: nvml.number("nvmlSystemGetCudaDriverVersion_v2", ctypes.c_int))
        return {
            "driver_version": nvml.ask(lambda: nvml.text("nvmlSystemGetDriverVersion", 80)),
            "library_version": nvml.ask(lambda: nvml.text("nvmlSystemGetNVMLVersion", 80)),
            "cuda_version": None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
            "gpus": [_gpu(nvml, index) for index in range(nvml.number("nvmlDeviceGetCount_v2"))],
        }
    finally:
        nvml.call("nvmlShutdown")


class _Library:
    def __init__(self, path: str) -> None:
        try:
            self._functions = ctypes.CDLL(path)
        except OSError as error:
            raise NvmlError(LIBRARY_NOT_FOUND, str(error)) from error

    def call(self, function: str, *arguments: Any) -> bool:
        """Return True; a refusal is raised."""
        try:
            code = getattr(self._functions, function)(*arguments)
        except AttributeError:
            raise NvmlError(FUNCTION_NOT_FOUND, f"{function}: Function Not Found") from None
        if code:
            raise NvmlError(code, f"{function}: {self._words(code)}")
        return True

    def has(self, function: str) -> bool:
        return hasattr(self._functions, function)

    def number(self, function: str, kind: Any = ctypes.c_uint, handle: Tuple[Any, ...] = ()) -> int:
        value = kind()
        self.call(function, *handle, ctypes.byref(value))
        return int(value.value)

    def text(self, function: str, length: int, handle: Tuple[Any, ...] = ()) -> str:
        buffer = ctypes.create_string_buffer(length)
        self.call(function, *handle, buffer, ctypes.c_uint(length))
        return buffer.value.decode("utf-8", "replace")

    def ask(self, question: Callable[[], Any]) -> Any:
        """Return the answer to a question about the machine, None where NVML has none."""
        try:
            return question()
        except NvmlError:
            return None

    def _words(self, code: int) -> str:
        try:
            describe = self._functions.nvmlErrorString
        except AttributeError:
            return "unknown error"
        describe.restype = ctypes.c_char_p
        return (describe(code) or b"unknown error").decode("utf-8", "replace")


class _Device:
    """One GPU. An answer is None where NVML gives none; every refusal but "not supported" is kept in ``errors``."""

    def __init__(self, nvml: _Library, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self.errors: List[str] = []
        self.lost = False

    def ask(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except NvmlError as error:
            self.lost = self.lost or error.code == GPU_IS_LOST
            if error.code not in (NOT_SUPPORTED, FUNCTION_NOT_FOUND):
                self.errors.append(str(error))
            return None

    def text(self, function: str) -> Optional[str]:
        return self.ask(lambda: self._nvml.text(function, 96, (self._handle,)))

    def number(self, function: str) -> Optional[int]:
        return self.ask(lambda: self._nvml.number(function, handle=(self._handle,)))

    def flag(self, function: str) -> Optional[bool]:
        value = self.number(function)
        return None if value is None else value == 1

    def fill(self, function: str, *outputs: Any) -> bool:
        """Call a function that fills its outputs; say whether it did."""
        arguments = [ctypes.byref(output) for output in outputs]
        return self.ask(lambda: self._nvml.call(function, self._handle, *arguments)) or False

    def switch(self, function: str) -> Optional[Dict[str, bool]]:
        """What is on now, and what will be on after the next reset."""
        current, pending = ctypes.c_uint(), ctypes.c_uint()
        if not self.fill(function, current, pending):
            return None
        return {"current": current.value == 1, "pending": pending.value == 1}

    def ecc_errors(self, uncorrected: int, aggregate: int) -> Optional[int]:
        count = ctypes.c_ulonglong()
        kinds = (ctypes.c_uint(uncorrected), ctypes.c_uint(aggregate))
        function = "nvmlDeviceGetTotalEccErrors"
        answered = self.ask(lambda: self._nvml.call(function, self._handle, *kinds, ctypes.byref(count)))
        return count.value if answered else None

    def processes(self, kind: str) -> List[Dict[str, Any]]:
        first_version = f"nvmlDeviceGet{kind.capitalize()}RunningProcesses"
        newer = [name for name in (f"{first_version}_v3", f"{first_version}_v2") if self._nvml.has(name)]
        function, record = (newer[0], _Process) if newer else (first_version, _FirstProcess)
        found = self.ask(lambda: self._list(function, record)) or []
        return [{"pid": entry.pid, "kind": kind, "memory_mib": _process_mib(entry.memory)} for entry in found]

    def _list(self, function: str, record: Any) -> List[Any]:
        room = 32
        while True:
            count, buffer = ctypes.c_uint(room), (record * room)()
            try:
                self._nvml.call(function, self._handle, ctypes.byref(count), buffer)
            except NvmlError as error:
                if error.code != INSUFFICIENT_SIZE or count.value <= room:
                    raise
                room = count.value + 8  # some more may have started since
            else:
                return list(buffer[: count.value])


def _gpu(nvml: _Library, index: int) -> Dict[str, Any]:
    handle = ctypes.c_void_p()
    try:
        nvml.call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
    except NvmlError as error:
        state = "lost" if error.code == GPU_IS_LOST else "unreadable"
        return {"index": index, "pci_address": None, "state": state, "errors": [str(error)]}
    device = _Device(nvml, handle)
    pci = _pci(device)
    name = device.text("nvmlDeviceGetName")
    return {
        "index": index,
        **pci,
        "name": name,
        "uuid": device.text("nvmlDeviceGetUUID"),
        "architecture": _ARCHITECTURES.get(device.number("nvmlDeviceGetArchitecture") or 0),
        "compute_capability": _capability(device),
        **_memory(device),
        "ecc": _ecc(device),
        "mig": device.switch("nvmlDeviceGetMigMode"),
        "power_limit_w": _watts(device.number("nvmlDeviceGetEnforcedPowerLimit")),
        "persistence": device.flag("nvmlDeviceGetPersistenceMode"),
        "pcie": {
            "generation": device.number("nvmlDeviceGetCurrPcieLinkGeneration"),
            "generation_max": device.number("nvmlDeviceGetMaxPcieLinkGeneration"),
            "width": device.number("nvmlDeviceGetCurrPcieLinkWidth"),
            "width_max": device.number("nvmlDeviceGetMaxPcieLinkWidth"),
        },
        "display_attached": device.flag("nvmlDeviceGetDisplayMode"),
        "fabric": _fabric(device),
        "processes": device.processes("compute") + device.processes("graphics"),
        "state": "lost" if device.lost else "ok" if name is not None else "unreadable",
        "errors": device.errors,
    }


def _pci(device: _Device) -> Dict[str, Optional[str]]:
    info = _PciInfo()
    if not device.fill("nvmlDeviceGetPciInfo_v3", info):
        return {"pci_address": None, "device_id": None, "subsystem_id": None}
    vendor, model = info.subsystem_id & 0xFFFF, info.subsystem_id >> 16
    return {
        "pci_address": normal_address(info.bus_id.decode("ascii", "replace")),
        "device_id": f"0x{info.device_id >> 16:04x}",
        "subsystem_id": f"{vendor:04x}:{model:04x}" if info.subsystem_id else None,
    }


def _capability(device: _Device) -> Optional[str]:
    major, minor = ctypes.c_int(), ctypes.c_int()
    return f"{major.value}.{minor.value}" if device.fill("nvmlDeviceGetCudaComputeCapability", major, minor) else None


def _memory(device: _Device) -> Dict[str, Optional[int]]:
    memory = _Memory()
    if not device.fill("nvmlDeviceGetMemoryInfo", memory):
        return {"memory_mib": None, "memory_used_mib": None}
    return {"memory_mib": memory.total // _MIB, "memory_used_mib": memory.used // _MIB}


def _ecc(device: _Device) -> Optional[Dict[str, Any]]:
    mode = device.switch("nvmlDeviceGetEccMode")
    if mode is None:
        return None
    rows = [ctypes.c_uint() for _row in range(4)]
    remapped = device.fill("nvmlDeviceGetRemappedRows", *rows)
    return {
        **mode,
        "corrected": device.ecc_errors(0, 0),
        "uncorrected": device.ecc_errors(1, 0),
        "corrected_total": device.ecc_errors(0, 1),
        "uncorrected_total": device.ecc_errors(1, 1),
        "remap_pending": rows[2].value == 1 if remapped else None,
        "remap_failed": rows[3].value == 1 if remapped else None,
    }


def _fabric(device: _Device) -> Optional[str]:
    fabric = _Fabric()
    return _FABRIC_STATES.get(fabric.state) if device.fill("nvmlDeviceGetGpuFabricInfo", fabric) else None


def _watts(milliwatts: Optional[int]) -> Optional[float]:
    return None if milliwatts is None else milliwatts / 1000


def _process_mib(memory: int) -> Optional[int]:
    # All bits set is NVML's "not available": under WSL and with the confidential-computing mode on.
    return None if memory == (1 << 64) - 1 else memory // _MIB
