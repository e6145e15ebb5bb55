# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what ``nvidia-smi -q -x`` prints, in every layout since driver 450 (its DTDs v11, v12 and v13).

The layouts differ in where a value is, not in what it is: each reader below names the places, newest first. A value
that nvidia-smi does not have (``N/A``, ``[Not Supported]``, ``Unknown Error``, ``GPU is lost`` …) is None here.
"""

from __future__ import annotations

import re
import subprocess
from typing import Any, Dict, List, Optional

from ansible_collections.gpulab.workstation.plugins.module_utils._pci import normal_address

_TIMEOUT_S = 30

_START, _END = "<nvidia_smi_log", "</nvidia_smi_log>"

_NO_VALUE = re.compile(
    r"|n/?a|none|unknown"
    r"|\[?(not supported|n/a|unknown error|not found|gpu is lost|insufficient permissions|requested functionality).*"
)
_LOST = re.compile(r"gpu is lost", re.IGNORECASE)
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)(?:\s*(?:x|MiB|W|%|C|MHz))?")

_KINDS = {"C": ["compute"], "G": ["graphics"], "C+G": ["compute", "graphics"]}
# MPS clients are compute processes of another making.
_KINDS["M+C"] = ["compute"]


class NvidiaSmiError(Exception):
    """nvidia-smi could not be run, failed, or printed something else than its report."""


def query(path: str) -> Dict[str, Any]:
    """Run nvidia-smi and return what its report tells."""
    try:
        answer = subprocess.run(  # pylint: disable=ansible-bad-function # run_command has no timeout
            [path, "-q", "-x"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, ValueError) as error:
        raise NvidiaSmiError(f"{path} could not be run: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise NvidiaSmiError(f"{path} did not answer within {_TIMEOUT_S} s") from error
    text = answer.stdout.decode("utf-8", "replace")
    # A corrupted infoROM makes it fail with 14, and its report is whole all the same.
    if answer.returncode != 0 and _START not in text:
        raise NvidiaSmiError(f"{path} failed with {answer.returncode}: {_one_line(text)}")
    return parse(text)


def parse(text: str) -> Dict[str, Any]:
    """Return versions and GPUs of a report, or raise NvidiaSmiError for a text that is none."""
    from xml.etree import ElementTree  # here: most machines never need it, and it costs as much as all the rest

    start, end = text.find(_START), text.rfind(_END)
    if start < 0:
        raise NvidiaSmiError(f"not a report of nvidia-smi: {_one_line(text) or 'empty'}")
    if end < start:
        raise NvidiaSmiError("the report of nvidia-smi is broken: it has no end")
    try:
        # The root element alone: a DOCTYPE before it names a DTD that is not there, warnings may stand on both sides.
        log = ElementTree.fromstring(text[start : end + len(_END)])
    except (ElementTree.ParseError, ValueError) as error:
        raise NvidiaSmiError(f"the report of nvidia-smi is broken: {error}") from error
    return {
        "driver_version": _first(log, "kmd_version", "driver_version"),
        "library_version": None,
        "cuda_version": _first(log, "cuda_umd_version", "cuda_version"),
        "gpus": [_gpu(element, index) for index, element in enumerate(log.findall("gpu"))],
    }


def _gpu(gpu: Any, index: int) -> Dict[str, Any]:
    link = "pci/pci_gpu_link_info"
    device_id = _first(gpu, "pci/pci_device_id")
    known = {
        "index": index,
        "pci_address": normal_address(gpu.get("id") or _first(gpu, "pci/pci_bus_id")),
        "device_id": _device_id(device_id),
        "subsystem_id": _subsystem_id(_first(gpu, "pci/pci_sub_system_id")),
        "name": _first(gpu, "product_name"),
        "uuid": _first(gpu, "uuid"),
        "architecture": _architecture(_first(gpu, "product_architecture")),
        "compute_capability": None,
        "memory_mib": _integer(gpu, "fb_memory_usage/total"),
        "memory_used_mib": _integer(gpu, "fb_memory_usage/used"),
        "ecc": _ecc(gpu),
        "mig": _switch(gpu, "mig_mode/current_mig", "mig_mode/pending_mig"),
        "power_limit_w": _number(
            gpu,
            "gpu_power_readings/current_power_limit",
            "gpu_power_readings/enforced_power_limit",
            "gpu_power_readings/power_limit",
            "power_readings/enforced_power_limit",
            "power_readings/power_limit",
        ),
        "persistence": _flag(gpu, "persistence_mode"),
        "pcie": {
            "generation": _integer(gpu, f"{link}/pcie_gen/current_link_gen"),
            "generation_max": _integer(gpu, f"{link}/pcie_gen/max_link_gen"),
            "width": _integer(gpu, f"{link}/link_widths/current_link_width"),
            "width_max": _integer(gpu, f"{link}/link_widths/max_link_width"),
        },
        "display_attached": _flag(gpu, "display_attached", "display_mode"),
        "fabric": _fabric(_first(gpu, "fabric/state")),
        "processes": _processes(gpu),
    }
    lost = known["uuid"] is None and any(_LOST.search(text) for text in gpu.itertext())
    state = "lost" if lost else "ok" if known["uuid"] or known["name"] else "unreadable"
    return {**known, "state": state, "errors": ["nvidia-smi: GPU is lost"] if lost else []}


def _first(element: Any, *places: str) -> Optional[str]:
    """The first of several places that holds a value."""
    for place in places:
        text = (element.findtext(place) or "").strip()
        if not _NO_VALUE.fullmatch(text.lower()):
            return text
    return None


def _number(element: Any, *places: str) -> Optional[float]:
    match = _NUMBER.fullmatch(_first(element, *places) or "")
    return float(match.group(1)) if match else None


def _integer(element: Any, *places: str) -> Optional[int]:
    number = _number(element, *places)
    return None if number is None else int(number)


def _flag(element: Any, *places: str) -> Optional[bool]:
    words = {"enabled": True, "yes": True, "on": True, "disabled": False, "no": False, "off": False}
    return words.get((_first(element, *places) or "").lower())


def _switch(element: Any, current_place: str, pending_place: str) -> Optional[Dict[str, Optional[bool]]]:
    current = _flag(element, current_place)
    return None if current is None else {"current": current, "pending": _flag(element, pending_place)}


def _ecc(gpu: Any) -> Optional[Dict[str, Any]]:
    mode = _switch(gpu, "ecc_mode/current_ecc", "ecc_mode/pending_ecc")
    if mode is None:
        return None
    return {
        **mode,
        "corrected": _ecc_count(gpu, "volatile", corrected=True),
        "uncorrected": _ecc_count(gpu, "volatile", corrected=False),
        "corrected_total": _ecc_count(gpu, "aggregate", corrected=True),
        "uncorrected_total": _ecc_count(gpu, "aggregate", corrected=False),
        "remap_pending": _flag(gpu, "remapped_rows/remapped_row_pending"),
        "remap_failed": _flag(gpu, "remapped_rows/remapped_row_failure"),
    }


def _ecc_count(gpu: Any, span: str, *, corrected: bool) -> Optional[int]:
    """GPUs before Turing have a total in single_bit and double_bit, later ones a count for each kind of memory."""
    before_turing = _integer(gpu, f"ecc_errors/{span}/{'single' if corrected else 'double'}_bit/total")
    if before_turing is not None:
        return before_turing
    counters = gpu.find(f"ecc_errors/{span}")
    ending = re.compile(r"[sd]ram_correctable" if corrected else r"[sd]ram_uncorrectable(_parity|_secded)?")
    found = [] if counters is None else [element.tag for element in counters if ending.fullmatch(element.tag)]
    counts = [_integer(counters, tag) for tag in found]
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _processes(gpu: Any) -> List[Dict[str, Any]]:
    found = []
    for process in gpu.findall("processes/process_info"):
        pid = _integer(process, "pid")
        for kind in _KINDS.get(_first(process, "type") or "", []) if pid else []:
            found.append({"pid": pid, "kind": kind, "memory_mib": _integer(process, "used_memory")})
    return found


def _architecture(name: Optional[str]) -> Optional[str]:
    # "Ada Lovelace" is the one name of two words.
    return name.split()[0].lower() if name else None


def _device_id(text: Optional[str]) -> Optional[str]:
    """nvidia-smi writes device and vendor in one: 268410DE."""
    match = re.fullmatch(r"(?:0x)?([0-9a-f]{4})10de", (text or "").lower())
    return f"0x{match.group(1)}" if match else None


def _subsystem_id(text: Optional[str]) -> Optional[str]:
    match = re.fullmatch(r"(?:0x)?([0-9a-f]{4})([0-9a-f]{4})", (text or "").lower())
    return f"{match.group(2)}:{match.group(1)}" if match and int(match.group(0), 16) else None


def _fabric(text: Optional[str]) -> Optional[str]:
    state = (text or "").lower().replace(" ", "_")
    return state if state in ("not_started", "in_progress", "completed") else None


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]
