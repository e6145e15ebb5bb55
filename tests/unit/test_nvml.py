# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking NVML, against the stand-in library of tests/fixtures/nvml."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils import _nvml
from ansible_collections.gpulab.workstation.plugins.module_utils._nvml import NvmlError, query
from support.nvml_stand_in import RTX_4090, answering, build, compiler, configure

pytestmark = pytest.mark.skipif(
    compiler() is None, reason="NOT CHECKED: the stand-in for NVML is built with a C compiler"
)

ADDRESS = "0000:01:00.0"


def ask(*gpus: dict[str, Any], **machine: Any) -> dict[str, Any]:
    return query(answering(machine=machine, gpus=gpus))


def ask_one(**settings: Any) -> dict[str, Any]:
    return ask({**RTX_4090, **settings})["gpus"][0]


def test_a_working_gpu_tells_everything() -> None:
    answer = ask({**RTX_4090, "process": ["compute 4242 18000", "graphics 2101 180"]})
    assert answer["driver_version"] == "580.95.05"
    assert answer["library_version"] == "13.580.95.05"
    assert answer["cuda_version"] == "13.0"
    assert answer["gpus"] == [
        {
            "index": 0,
            "pci_address": ADDRESS,
            "device_id": "0x2684",
            "subsystem_id": "1043:88e2",
            "name": "NVIDIA GeForce RTX 4090",
            "uuid": "GPU-6d3ad9c5-1d47-0f5e-9f4e-000000000001",
            "architecture": "ada",
            "compute_capability": "8.9",
            "memory_mib": 24564,
            "memory_used_mib": 800,
            "ecc": None,
            "mig": None,
            "power_limit_w": 450.0,
            "persistence": True,
            "pcie": {"generation": 4, "generation_max": 4, "width": 16, "width_max": 16},
            "display_attached": False,
            "fabric": None,
            "processes": [
                {"pid": 4242, "kind": "compute", "memory_mib": 18000},
                {"pid": 2101, "kind": "graphics", "memory_mib": 180},
            ],
            "state": "ok",
            "errors": [],
        }
    ]


def test_each_field_is_one_call_and_no_process_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()
    call = _nvml._Library.call

    def counting(self: _nvml._Library, name: str, *arguments: object) -> object:
        calls[name] += 1
        return call(self, name, *arguments)

    library = answering(
        gpus=[{**RTX_4090, "ecc_current": 1, "ecc_pending": 1, "process": ["compute 4242 18000", "graphics 2101 180"]}]
    )
    monkeypatch.setattr(_nvml._Library, "call", counting)
    monkeypatch.setattr(subprocess, "Popen", lambda *_arguments, **_options: pytest.fail("a process was started"))
    assert query(library)["gpus"][0]["ecc"] is not None
    # Errors are counted in four registers: corrected or not, since the last load or ever.
    assert {name: count for name, count in calls.items() if count > 1} == {"nvmlDeviceGetTotalEccErrors": 4}


@pytest.mark.parametrize(
    ("code", "words"),
    [(9, "Driver Not Loaded"), (18, "version mismatch"), (4, "Insufficient Permissions"), (999, "Unknown Error")],
)
def test_a_refused_start_is_told_with_number_and_words(code: int, words: str) -> None:
    with pytest.raises(NvmlError, match=words) as refusal:
        ask(nvmlInit=f"!{code}")
    assert refusal.value.code == code


def test_a_library_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NvmlError, match="cannot open shared object file") as refusal:
        query(str(tmp_path / "libnvidia-ml.so.1"))
    assert refusal.value.code == 12


def test_a_file_that_is_no_library_is_told(tmp_path: Path) -> None:
    library = tmp_path / "libnvidia-ml.so.1"
    library.write_bytes(b"not a library")
    with pytest.raises(NvmlError):
        query(str(library))


def test_another_library_under_the_name_is_told() -> None:
    with pytest.raises(NvmlError, match="nvmlInit_v2: Function Not Found"):
        query("libc.so.6")


def test_no_gpu_is_an_answer() -> None:
    assert ask()["gpus"] == []


def test_a_lost_gpu_hides_no_other() -> None:
    lost, well = ask({**RTX_4090, "nvmlDeviceGetHandleByIndex_v2": "!15"}, RTX_4090)["gpus"]
    assert (lost["index"], lost["state"], lost["pci_address"]) == (0, "lost", None)
    assert lost["errors"] == ["nvmlDeviceGetHandleByIndex_v2: GPU is lost (NVML error 15)"]
    assert (well["index"], well["state"]) == (1, "ok")


def test_a_gpu_lost_after_its_handle_was_given_is_lost_as_well() -> None:
    gpu = ask_one(lost_after_ms=0, nvmlDeviceGetHandleByIndex_v2="0")
    assert gpu["state"] == "lost"


def test_a_gpu_without_permission_is_unreadable_and_says_why() -> None:
    gpu = ask_one(nvmlDeviceGetHandleByIndex_v2="!4")
    assert gpu["state"] == "unreadable"
    assert "Insufficient Permissions" in gpu["errors"][0]


def test_one_field_that_fails_costs_only_itself() -> None:
    gpu = ask_one(temperature="!999", nvmlDeviceGetUUID="!999", nvmlDeviceGetEnforcedPowerLimit="!4")
    assert (gpu["uuid"], gpu["power_limit_w"], gpu["state"]) == (None, None, "ok")
    assert gpu["name"] == "NVIDIA GeForce RTX 4090"
    assert len(gpu["errors"]) == 2


def test_what_is_not_supported_is_none_and_no_error() -> None:
    gpu = ask({"name": "an old GPU"})["gpus"][0]
    assert gpu["errors"] == []
    assert not any(
        gpu[key] for key in ("uuid", "memory_mib", "power_limit_w", "ecc", "mig", "persistence", "processes")
    )


def test_ecc_is_told_with_its_errors_and_the_state_of_bad_rows() -> None:
    counts = {"ecc_corrected": 3, "ecc_uncorrected": 1, "ecc_corrected_aggregate": 9, "ecc_uncorrected_aggregate": 2}
    rows = {"remapped_corrected": 0, "remapped_uncorrected": 1, "remap_pending": 1, "remap_failed": 0}
    assert ask_one(ecc_current=1, ecc_pending=0, **counts, **rows)["ecc"] == {
        "current": True,
        "pending": False,
        "corrected": 3,
        "uncorrected": 1,
        "corrected_total": 9,
        "uncorrected_total": 2,
        "remap_pending": True,
        "remap_failed": False,
    }


def test_mig_is_told_as_it_is_and_as_it_will_be() -> None:
    assert ask_one(mig_current=0, mig_pending=1)["mig"] == {"current": False, "pending": True}


@pytest.mark.parametrize(("number", "state"), [(0, None), (1, "not_started"), (2, "in_progress"), (3, "completed")])
def test_the_fabric_is_told_where_there_is_one(number: int, state: str | None) -> None:
    assert ask_one(fabric_state=number)["fabric"] == state


def test_more_processes_than_were_made_room_for_are_all_told() -> None:
    processes = [f"compute {pid} 10" for pid in range(1, 81)]
    assert [process["pid"] for process in ask_one(process=processes)["processes"]] == list(range(1, 81))


def test_memory_that_is_not_available_is_none() -> None:
    assert ask_one(process=["compute 7 ?"])["processes"] == [{"pid": 7, "kind": "compute", "memory_mib": None}]


def test_a_library_that_knows_only_the_first_version_of_the_process_functions_is_asked_by_it(tmp_path: Path) -> None:
    library = build(tmp_path, options=["-DBEFORE_PROCESS_VERSIONS"])
    gpu = {**RTX_4090, "process": ["compute 5 10", "compute 6 20"]}
    configure(library, machine={"driver": "450.80.02"}, gpus=[gpu])
    processes = query(str(library))["gpus"][0]["processes"]
    assert [(process["pid"], process["memory_mib"]) for process in processes] == [(5, 10), (6, 20)]


def test_ten_gpus_are_ten() -> None:
    gpus = [{**RTX_4090, "pci": f"0000:{bus:02x}:00.0"} for bus in range(1, 11)]
    assert [gpu["pci_address"] for gpu in ask(*gpus)["gpus"]] == [f"0000:{bus:02x}:00.0" for bus in range(1, 11)]
