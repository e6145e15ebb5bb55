# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading `nvidia-smi -q -x`: every layout since driver 450, and everything else that may come instead."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils._nvidia_smi import NvidiaSmiError, parse, query
from hypothesis import given, settings
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[1] / "fixtures/nvidia_smi"
REPORTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FIXTURES.glob("*.xml"))}

NO_VALUES = ["N/A", "[N/A]", "[Not Supported]", "Not Supported", "Unknown Error", "[Unknown Error]", "GPU is lost", ""]
NO_VALUES += ["Insufficient Permissions", "Requested functionality has been deprecated", "None"]


def gpu_of(name: str, index: int = 0) -> dict[str, Any]:
    return parse(REPORTS[name])["gpus"][index]


def test_every_layout_since_driver_450_has_a_report() -> None:
    layouts = {match for text in REPORTS.values() for match in re.findall(r"nvsmi_device_(v\d+)\.dtd", text)}
    assert layouts == {"v11", "v12", "v13"}


def test_v11_a_gpu_before_turing_tells_its_ecc_errors_in_totals() -> None:
    gpu = gpu_of("v11_pascal_desktop")
    assert gpu["ecc"] == {
        "current": True,
        "pending": True,
        "corrected": 3,
        "uncorrected": 1,
        "corrected_total": 12,
        "uncorrected_total": 1,
        "remap_pending": None,
        "remap_failed": None,
    }
    assert (gpu["name"], gpu["device_id"], gpu["subsystem_id"]) == ("Tesla P100-PCIE-16GB", "0x15f8", "10de:118f")
    assert (gpu["memory_mib"], gpu["power_limit_w"], gpu["mig"]) == (16280, 250.0, None)
    assert gpu["architecture"] is None  # this layout does not tell it


def test_v11_a_desktop_draws_and_computes() -> None:
    gpu = gpu_of("v11_pascal_desktop", 1)
    assert gpu["processes"] == [
        {"pid": 2101, "kind": "graphics", "memory_mib": 180},
        {"pid": 2502, "kind": "compute", "memory_mib": 210},
        {"pid": 2502, "kind": "graphics", "memory_mib": 210},
    ]
    assert (gpu["display_attached"], gpu["power_limit_w"], gpu["ecc"]) == (True, None, None)
    assert gpu["pcie"] == {"generation": 3, "generation_max": 3, "width": 8, "width_max": 16}


def test_v12_mig_rows_and_fabric_are_told() -> None:
    gpu = gpu_of("v12_a100_mig")
    assert gpu["mig"] == {"current": True, "pending": False}
    assert (gpu["ecc"]["corrected"], gpu["ecc"]["uncorrected_total"], gpu["ecc"]["remap_pending"]) == (7, 4, True)
    assert (gpu["architecture"], gpu["fabric"], gpu["power_limit_w"]) == ("ampere", "completed", 400.0)
    assert gpu["memory_mib"] == 81920  # the GPU's, not an instance's


def test_v13_the_new_names_are_read() -> None:
    report = parse(REPORTS["v13_blackwell_one_lost"])
    assert (report["driver_version"], report["cuda_version"]) == ("615.71.09", "13.4")
    gpu = report["gpus"][0]
    assert gpu["ecc"]["uncorrected_total"] == 4  # parity + secded + dram
    assert (gpu["display_attached"], gpu["power_limit_w"], gpu["persistence"]) == (True, 600.0, True)


def test_v13_the_new_names_are_enough() -> None:
    text = re.sub(r"\t<(driver|cuda)_version>.*\n", "", REPORTS["v13_blackwell_one_lost"])
    report = parse(text)
    assert (report["driver_version"], report["cuda_version"]) == ("615.71.09", "13.4")


def test_a_lost_gpu_is_named_and_tells_only_its_address() -> None:
    gpu = gpu_of("v13_blackwell_one_lost", 1)
    assert (gpu["state"], gpu["pci_address"], gpu["device_id"]) == ("lost", "0000:62:00.0", "0x2bb1")
    told = {key: value for key, value in gpu.items() if value not in (None, [], {})}
    told.pop("pcie")
    assert set(told) == {"index", "pci_address", "device_id", "subsystem_id", "state", "errors"}


@pytest.mark.parametrize("no_value", NO_VALUES)
@pytest.mark.parametrize("name", sorted(REPORTS))
def test_no_value_is_none_wherever_it_stands(name: str, no_value: str) -> None:
    text = re.sub(r">[^<>\n]+</", f">{no_value}</", REPORTS[name])
    report = parse(text)
    assert (report["driver_version"], report["cuda_version"]) == (None, None)
    for gpu in report["gpus"]:
        assert gpu["pci_address"]  # from the attribute
        assert not any(gpu[key] for key in ("name", "uuid", "memory_mib", "ecc", "mig", "power_limit_w", "processes"))
        assert gpu["state"] == ("lost" if no_value == "GPU is lost" else "unreadable")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not a report of nvidia-smi: empty"),
        ("\n", "not a report of nvidia-smi: empty"),
        ("No devices were found", "not a report of nvidia-smi: No devices were found"),
        ("Failed to initialize NVML: Driver/library\nversion mismatch", "Driver/library version mismatch"),
        ("<html><body>not here</body></html>", "<html><body>not here"),
        ("<nvidia_smi_log>", "broken"),
        ("<nvidia_smi_log><gpu></nvidia_smi_log>", "broken"),
    ],
)
def test_what_is_no_report_is_refused_with_what_it_was(text: str, told: str) -> None:
    with pytest.raises(NvidiaSmiError, match=re.escape(told)):
        parse(text)


@pytest.mark.parametrize("name", sorted(REPORTS))
def test_a_truncated_report_is_refused(name: str) -> None:
    end = REPORTS[name].rindex("</nvidia_smi_log>")
    for length in range(REPORTS[name].index("<nvidia_smi_log>"), end, 97):
        with pytest.raises(NvidiaSmiError):
            parse(REPORTS[name][:length])


def test_words_around_the_report_do_not_spoil_it() -> None:
    warning = "WARNING: infoROM is corrupted at gpu 0000:3B:00.0\n"
    assert len(parse(warning + REPORTS["v11_pascal_desktop"] + warning)["gpus"]) == 2


@settings(deadline=None)
@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(NvidiaSmiError):
        parse(text)


@settings(deadline=None)
@given(st.sampled_from(sorted(REPORTS)), st.data())
def test_a_damaged_report_is_parsed_or_refused(name: str, data: st.DataObject) -> None:
    text = REPORTS[name]
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 200)))
    try:
        report = parse(text[:start] + data.draw(st.text(max_size=40)) + text[end:])
    except NvidiaSmiError:
        return
    assert isinstance(report["gpus"], list)


@settings(deadline=None)
@given(st.sampled_from(sorted(REPORTS)), st.text(alphabet=st.characters(blacklist_characters="<>&"), max_size=20))
def test_any_value_is_read_as_what_it_says_or_as_none(name: str, value: str) -> None:
    text = re.sub(r"<total>[^<]*</total>", lambda _match: f"<total>{value}</total>", REPORTS[name])
    try:
        report = parse(text)
    except NvidiaSmiError:
        return  # a character that XML does not allow
    for gpu in report["gpus"]:
        memory = gpu["memory_mib"]
        assert memory is None or str(memory) in value


def program(directory: Path, script: str) -> str:
    path = directory / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_the_program_is_asked_for_its_whole_report(tmp_path: Path) -> None:
    report = FIXTURES / "v12_a100_mig.xml"
    path = program(tmp_path, f'[ "$*" = "-q -x" ] && exec cat {report}')
    assert query(path)["gpus"][0]["name"] == "NVIDIA A100-SXM4-80GB"


def test_a_failing_program_is_told_with_its_words_and_its_status(tmp_path: Path) -> None:
    path = program(tmp_path, "echo 'No devices were found' >&2; exit 6")
    with pytest.raises(NvidiaSmiError, match=r"failed with 6: No devices were found"):
        query(path)


def test_a_report_counts_whatever_the_status(tmp_path: Path) -> None:
    path = program(tmp_path, f"cat {FIXTURES / 'v12_a100_mig.xml'}; echo 'WARNING: infoROM is corrupted' >&2; exit 14")
    assert query(path)["gpus"][0]["name"] == "NVIDIA A100-SXM4-80GB"


def test_a_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(NvidiaSmiError, match="could not be run"):
        query(str(tmp_path / "nvidia-smi"))


def test_a_program_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "ansible_collections.gpulab.workstation.plugins.module_utils._nvidia_smi"
    monkeypatch.setattr(f"{module}._TIMEOUT_S", 0.2)
    with pytest.raises(NvidiaSmiError, match="did not answer"):
        query(program(tmp_path, "exec sleep 5"))
