# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the GPUs do while a job runs, sampled by NVML and summed up as it comes.

Memory and answer stay the same size however long the job runs: sums are kept for the figures, and a series of at most
SERIES buckets for the chart, which become wider as it fills.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import time
from typing import Any, Callable, Collection, Dict, List, Optional, Set

from ansible_collections.gpulab.workstation.plugins.module_utils import _nvml

SERIES = 240  # as many as a chart shows; they are kept on the machine
SLOW = 1.0  # seconds between two looks at what changes slowly: processes, PCIe link, memory errors

# What holds clocks down because something is wrong. A power cap in software is not among them: it is how a GPU at full
# load behaves. Bits of nvmlClocksEventReasons, as in nvidia-ml-py 13.615.
THROTTLING = {0x08: "hardware slowdown", 0x20: "heat (driver)", 0x40: "heat (hardware)", 0x80: "power brake"}
THROTTLED_SHARE = 0.02  # of the samples; a single one at a change of load is no finding

SM_CLOCK = 1
TEMPERATURE_GPU = 0
XID_ERROR = 0x08  # nvmlEventTypeXidCriticalError
MOST_XIDS = 32  # of a GPU: one that does not stop to fail is known well enough


class _Utilization(ctypes.Structure):
    _fields_ = [("gpu", ctypes.c_uint), ("memory", ctypes.c_uint)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("device", ctypes.c_void_p),
        ("kind", ctypes.c_ulonglong),
        ("number", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    ]


class Figures:
    """Mean, least and greatest of what was read."""

    def __init__(self) -> None:
        self.count, self.total = 0, 0.0
        self.least, self.greatest = float("inf"), float("-inf")

    def add(self, value: float) -> None:
        self.count += 1
        self.total += value
        self.least, self.greatest = min(self.least, value), max(self.greatest, value)

    def summary(self) -> Optional[Dict[str, float]]:
        if not self.count:
            return None
        return {"mean": round(self.total / self.count, 1), "min": self.least, "max": self.greatest}


class Series:
    """Means over equal stretches of time, at most SERIES of them."""

    def __init__(self, width: float = 0.1) -> None:
        self.width = width  # seconds
        self._sums: List[List[float]] = []  # [sum, count] of each stretch

    def add(self, seconds: float, value: float) -> None:
        while seconds >= self.width * SERIES:
            self._halve()
        index = int(seconds / self.width)
        while len(self._sums) <= index:
            self._sums.append([0.0, 0])
        self._sums[index][0] += value
        self._sums[index][1] += 1

    def _halve(self) -> None:
        self.width *= 2
        pairs = [self._sums[index : index + 2] for index in range(0, len(self._sums), 2)]
        self._sums = [[sum(part[0] for part in pair), sum(part[1] for part in pair)] for pair in pairs]

    def values(self) -> List[Optional[float]]:
        return [round(total / count, 1) if count else None for total, count in self._sums]


class GpuRecord:
    """What is known of one GPU so far."""

    def __init__(self, nvml: Any, index: int) -> None:
        handle = ctypes.c_void_p()
        nvml.call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
        self.index, self._device = index, _nvml._Device(nvml, handle)
        self.name, self.uuid = self._device.text("nvmlDeviceGetName"), self._device.text("nvmlDeviceGetUUID")
        self.pci_address = _nvml._pci(self._device)["pci_address"]
        self.now: Dict[str, Optional[float]] = {}
        self.whole: Dict[str, Figures] = {}
        self.window: Dict[str, Figures] = {}
        self.marked: Dict[str, Dict[str, Figures]] = {}
        self.series: Dict[str, Series] = {}
        self._reasons = {True: self._fresh_reasons(), False: self._fresh_reasons()}
        self._samples = {True: 0, False: 0}
        self._link: Dict[str, int] = {}
        self._others: Optional[Dict[int, Dict[str, Any]]] = {}
        self._own: Set[int] = set()
        self._used = False
        self._ecc_before = self._device.ecc_errors(1, 0)
        self._ecc_now = self._ecc_before
        self._errors: Set[str] = set()
        self._xids: Optional[List[int]] = None

    def watch_xids(self, events: ctypes.c_void_p) -> None:
        """Let the driver tell of its errors with this GPU (Xid) among `events`, where it does."""
        call, handle = self._device._nvml.call, self._device._handle
        if self._device.ask(lambda: call("nvmlDeviceRegisterEvents", handle, ctypes.c_ulonglong(XID_ERROR), events)):
            self._xids = []

    def note_xid(self, event: _Event) -> None:
        if event.device == self._device._handle.value and self._xids is not None and len(self._xids) < MOST_XIDS:
            self._xids.append(event.number)

    @staticmethod
    def _fresh_reasons() -> Dict[str, int]:
        return dict.fromkeys(THROTTLING.values(), 0)

    def sample(self, seconds: float, *, marks: Collection[str]) -> None:
        """Read the GPU once; `marks` are the job's that are open."""
        marked = bool(marks)
        self.now = self._read()
        for name, value in self.now.items():
            if value is None:
                continue
            self.whole.setdefault(name, Figures()).add(value)
            self.series.setdefault(name, Series()).add(seconds, value)
            if marked:
                self.window.setdefault(name, Figures()).add(value)
            for mark in marks:
                self.marked.setdefault(mark, {}).setdefault(name, Figures()).add(value)
        bits = self._throttle_bits()
        if bits is not None:
            self._samples[marked] += 1
            for bit, reason in THROTTLING.items():
                self._reasons[marked][reason] += bool(bits & bit)
        # A call that fails does so ten times a second: once is enough to know.
        self._errors.update(self._device.errors)
        self._device.errors.clear()

    def _read(self) -> Dict[str, Optional[float]]:
        device, rates, memory = self._device, _Utilization(), _nvml._Memory()
        rated = device.fill("nvmlDeviceGetUtilizationRates", rates)
        filled = device.fill("nvmlDeviceGetMemoryInfo", memory)
        power = device.number("nvmlDeviceGetPowerUsage")
        return {
            "utilization": rates.gpu if rated else None,
            "memory_mib": memory.used >> 20 if filled else None,
            "power_w": None if power is None else power / 1000,
            "temperature_c": self._chosen("nvmlDeviceGetTemperature", TEMPERATURE_GPU),
            "sm_clock_mhz": self._chosen("nvmlDeviceGetClockInfo", SM_CLOCK),
        }

    def _chosen(self, function: str, choice: int) -> Optional[int]:
        value = ctypes.c_uint()
        call = self._device._nvml.call
        answered = self._device.ask(
            lambda: call(function, self._device._handle, ctypes.c_uint(choice), ctypes.byref(value)) or True
        )
        return value.value if answered else None

    def _throttle_bits(self) -> Optional[int]:
        bits = ctypes.c_ulonglong()
        known = self._device.fill("nvmlDeviceGetCurrentClocksThrottleReasons", bits)
        return bits.value if known else None

    def look_closer(self, pids: Callable[[], List[int]]) -> None:
        """Read what changes slowly; `pids` tells the processes of the job."""
        for name in ("generation", "width"):
            value = self._device.number(f"nvmlDeviceGetCurrPcieLink{name.capitalize()}")
            if value is not None:  # an idle link is slower on purpose: what it reached counts
                self._link[name] = max(value, self._link.get(name, 0))
        self._ecc_now = self._device.ecc_errors(1, 0)
        found = [process["pid"] for process in self._device.processes("compute")]
        if found:
            # After the GPU's answer, and with those that have ended: what starts or ends just now is the job's own.
            self._own.update(pids())
            self._used = self._used or not self._own.isdisjoint(found)
        for pid in found:
            if pid not in self._own and self._others is not None:
                self._meet(pid, self._others)

    def _meet(self, pid: int, others: Dict[int, Dict[str, Any]]) -> None:
        try:
            owner = os.stat(f"/proc/{pid}").st_uid
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
                name = stream.read().strip()
        except OSError:
            # Not of this namespace: in a container NVML names processes by numbers that mean nothing here.
            self._others = None
            return
        try:
            user = pwd.getpwuid(owner).pw_name
        except KeyError:
            user = str(owner)
        others[pid] = {"pid": pid, "name": name, "user": user}

    def summary(self, *, marked: bool) -> Dict[str, Any]:
        figures = self.window if marked else self.whole
        longest = max((len(series.values()) for series in self.series.values()), default=0)
        width = next(iter(self.series.values())).width if self.series else 0.0
        return {
            "index": self.index,
            "name": self.name,
            "uuid": self.uuid,
            "pci_address": self.pci_address,
            "whole": {name: found.summary() for name, found in self.whole.items()},
            "window": {name: found.summary() for name, found in figures.items()},
            "marks": {
                mark: {name: found.summary() for name, found in read.items()} for mark, read in self.marked.items()
            },
            "throttled": self._throttled(marked=marked),
            "pcie": self._pcie(),
            "processes": None if self._others is None else list(self._others.values()),
            "used": None if self._others is None else self._used,
            "ecc_errors": None if self._ecc_now is None else self._ecc_now - (self._ecc_before or 0),
            "xid_errors": self._xids,
            "errors": sorted(self._errors),
            "series": {
                "t": [round(index * width, 1) for index in range(longest)],
                **{name: series.values() for name, series in self.series.items()},
            },
        }

    def _throttled(self, *, marked: bool) -> Optional[List[str]]:
        kinds = (True,) if marked else (True, False)
        samples = sum(self._samples[kind] for kind in kinds)
        if not samples:
            return None
        counts = {reason: sum(self._reasons[kind][reason] for kind in kinds) for reason in THROTTLING.values()}
        return [reason for reason, count in counts.items() if count / samples > THROTTLED_SHARE]

    def _pcie(self) -> Optional[Dict[str, int]]:
        most = {name: self._device.number(f"nvmlDeviceGetMaxPcieLink{name.capitalize()}") for name in self._link}
        if len(self._link) < 2 or None in most.values():
            return None
        return {**self._link, **{f"{name}_max": value for name, value in most.items() if value is not None}}


class GpuRecorder:
    """Records every GPU of the machine. Marks of the job open and close the window that is summed up apart."""

    def __init__(self, library: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Open NVML; raises _nvml.NvmlError where there is none."""
        self._nvml = _nvml._Library(library)
        self._nvml.call("nvmlInit_v2")
        count = self._nvml.number("nvmlDeviceGetCount_v2")
        self._gpus: List[GpuRecord] = []
        for index in range(count):
            with contextlib.suppress(_nvml.NvmlError):  # one that was lost cannot be opened, and hides no other
                self._gpus.append(GpuRecord(self._nvml, index))
        self._events = ctypes.c_void_p()
        with contextlib.suppress(_nvml.NvmlError):  # as in a virtual machine that is given a part of a GPU
            self._nvml.call("nvmlEventSetCreate", ctypes.byref(self._events))
            for gpu in self._gpus:
                gpu.watch_xids(self._events)
        self._clock, self._began = clock, clock()
        self._next_look = 0.0
        self._open: Set[str] = set()
        self._window: Optional[Dict[str, float]] = None

    def sample(self, *, pids: Callable[[], List[int]]) -> None:
        """Read every GPU once; `pids` tells the job's processes."""
        seconds = self._clock() - self._began
        for gpu in self._gpus:
            gpu.sample(seconds, marks=self._open)
        if self._open and self._window:
            self._window["end"] = round(seconds, 1)
        if seconds >= self._next_look:
            self._next_look = seconds + SLOW
            for gpu in self._gpus:
                gpu.look_closer(pids)
            self._read_xids()

    def _read_xids(self) -> None:
        """Take what the driver has told since the last time. Where there is nothing, waiting for no time is refused."""
        event = _Event()
        with contextlib.suppress(_nvml.NvmlError):
            for _event in range(MOST_XIDS if self._events else 0):
                self._nvml.call("nvmlEventSetWait_v2", self._events, ctypes.byref(event), ctypes.c_uint(0))
                for gpu in self._gpus:
                    gpu.note_xid(event)

    def follow(self, event: Dict[str, Any]) -> None:
        """Take note of a mark."""
        if event.get("event") != "mark":
            return
        name = str(event.get("mark"))
        if event.get("edge") == "begin":
            self._open.add(name)
            now = round(self._clock() - self._began, 1)
            self._window = self._window or {"start": now, "end": now}
        else:
            self._open.discard(name)

    def live(self) -> Dict[str, Any]:
        """The newest readings, for the line that people see."""
        return {"gpus": [{"index": gpu.index, **gpu.now} for gpu in self._gpus]}

    def summary(self) -> Dict[str, Any]:
        """Everything so far. Without marks the window is the whole run."""
        self._read_xids()
        marked = self._window is not None
        return {
            "source": "nvml",
            "window": self._window,
            "gpus": [gpu.summary(marked=marked) for gpu in self._gpus],
        }


def recorder(library: str) -> Optional[GpuRecorder]:
    """A recorder, or None where NVML does not answer."""
    try:
        return GpuRecorder(library)
    except _nvml.NvmlError:
        return None
