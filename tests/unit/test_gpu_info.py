# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module itself: its real main(), its promises, its documentation."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gpulab.workstation.plugins.module_utils._findings import RULES, find
from ansible_collections.gpulab.workstation.plugins.module_utils._gpu import look
from ansible_collections.gpulab.workstation.plugins.modules import gpu_info
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.nvml_stand_in import RTX_4090, answering, compiler
from support.pci_tree import MachineTree

REPOSITORY = Path(__file__).parents[2]
RETURNED = yaml.safe_load(gpu_info.RETURN)


def run(capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    with patch_module_args(options), pytest.raises(SystemExit) as end:
        gpu_info.main()
    answer = json.loads(capsys.readouterr().out)
    assert (end.value.code == 0) is not answer.get("failed", False)
    return answer


def test_the_module_answers_on_this_very_machine(capsys: pytest.CaptureFixture[str]) -> None:
    answer = run(capsys)
    assert answer["changed"] is False
    assert answer["sources"]["pci"]["asked"] == "/sys/bus/pci/devices"


def test_facts_are_set_on_request_and_only_then(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = str(MachineTree(tmp_path).gpu("0x2684").root)
    assert "ansible_facts" not in run(capsys, root=root)
    answer = run(capsys, root=root, facts=True)
    assert answer["ansible_facts"]["gpulab"]["gpus"] == answer["gpus"]


def test_check_mode_tells_the_same(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = str(MachineTree(tmp_path).gpu("0x2684").root)
    plain, checked = run(capsys, root=root), run(capsys, root=root, _ansible_check_mode=True)
    plain.pop("invocation"), checked.pop("invocation")
    assert plain == checked


@pytest.mark.parametrize(
    ("options", "told"),
    [({"rooot": "/"}, "Unsupported parameters"), ({"facts": "perhaps"}, "unable to convert to bool")],
)
def test_a_wrong_option_is_refused(capsys: pytest.CaptureFixture[str], options: dict[str, Any], told: str) -> None:
    assert told in run(capsys, **options)["msg"]


def test_a_root_that_is_not_there_is_an_empty_machine(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    answer = run(capsys, root=str(tmp_path / "nowhere"))
    assert (answer["gpus"], answer["sources"]["pci"]["answered"]) == ([], False)


@pytest.mark.skipif(compiler() is None, reason="NOT CHECKED: the stand-in for NVML is built with a C compiler")
def test_everything_returned_is_documented_and_everything_documented_is_returned(tmp_path: Path) -> None:
    machine = MachineTree(tmp_path).kernel("6.8.0-85-generic").gpu("0x2684", driver="nvidia")
    gpu = {
        **RTX_4090,
        "process": ["compute 1 2"],
        "ecc_current": 1,
        "ecc_pending": 1,
        "mig_current": 0,
        "mig_pending": 0,
    }
    answer = look(root=str(machine.root), nvml_library=answering(gpus=[gpu]))
    assert set(answer) == set(RETURNED)
    assert set(answer["gpus"][0]) == set(RETURNED["gpus"]["contains"]) == set(RETURNED["gpus"]["sample"][0])
    for key in ("driver", "kernel", "nouveau", "secure_boot_key", "device_nodes", "platform", "sources"):
        assert set(answer[key]) == set(RETURNED[key]["sample"]), key
    for key in ("ecc", "mig", "pcie"):
        assert set(answer["gpus"][0][key]) == set(RETURNED["gpus"]["contains"][key]["sample"]), key
    assert set(answer["gpus"][0]["processes"][0]) == set(RETURNED["gpus"]["contains"]["processes"]["sample"][0])


def test_a_machine_without_anything_of_nvidias_is_told_in_the_same_form(tmp_path: Path) -> None:
    answer = look(root=str(MachineTree(tmp_path).kernel("6.8.0-85-generic").root))
    for key in ("driver", "kernel", "nouveau", "secure_boot_key", "device_nodes", "platform", "sources"):
        assert set(answer[key]) == set(RETURNED[key]["sample"]), key
    assert not any(answer["driver"].values())


def test_every_finding_is_explained_as_it_is() -> None:
    page = (REPOSITORY / "docs/gpu_info.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| .+ \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(rule.code, rule.severity, rule.remedy) for rule in RULES]


def test_every_finding_has_one_code_and_a_remedy() -> None:
    assert len({rule.code for rule in RULES}) == len(RULES)
    assert all(rule.remedy and rule.messages.__name__ == f"_{rule.code}" for rule in RULES)


# ---- never raises, never guesses

PATHS = [
    "proc/sys/kernel/osrelease",
    "proc/driver/nvidia/version",
    "proc/driver/nvidia/gpus/0000:01:00.0/information",
    "proc/cpuinfo",
    "proc/1/environ",
    "proc/7/status",
    "proc/7/comm",
    "sys/module/nvidia/version",
    "sys/class/dmi/id/product_name",
    "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
    "sys/firmware/efi/efivars/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23",
    "sys/devices/pci0000:00/0000:01:00.0/vendor",
    "sys/devices/pci0000:00/0000:01:00.0/device",
    "sys/devices/pci0000:00/0000:01:00.0/class",
    "sys/devices/pci0000:00/0000:01:00.0/current_link_width",
    "sys/devices/pci0000:00/0000:01:00.0/max_link_speed",
    "sys/devices/pci0000:00/0000:01:00.0/config",
    "lib/modules/6.8/modules.dep",
    "lib/modules/6.8/updates/dkms/nvidia.ko",
    "var/lib/dpkg/status",
    "var/lib/dkms/nvidia/580.95.05/6.8/x86_64/module/nvidia.ko",
    "var/lib/dkms/mok.pub",
    "run/systemd/sessions/1",
    "run/reboot-required.pkgs",
    "boot/grub2/grubenv",
    "etc/passwd",
    "etc/modprobe.d/x.conf",
    "usr/lib64/libnvidia-ml.so.1",
]

CONTENTS = st.one_of(
    st.binary(max_size=80),
    st.sampled_from([b"", b"0x10de\n", b"0x2684", b"6.8", b"580.95.05", b"-1", b"99999999999999999999", "²".encode()]),
)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(st.sampled_from(PATHS), CONTENTS), directories=st.sets(st.sampled_from(PATHS), max_size=3))
def test_any_tree_is_read_without_a_failure(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], directories: set[str]
) -> None:
    machine = MachineTree(tmp_path_factory.mktemp("tree")).kernel("6.8").gpu("0x2684").module_file("580.95.05")
    for path, content in files.items():
        machine.write(path, content)
    for path in directories - set(files):
        (machine.root / path).unlink(missing_ok=True)
        (machine.root / path).mkdir(parents=True, exist_ok=True)
    answer = look(root=str(machine.root))
    assert set(answer) == set(RETURNED)
    for gpu in answer["gpus"]:
        # What the number does not tell, nothing in a tree without a running driver can.
        assert gpu["memory_mib"] is None and gpu["uuid"] is None and gpu["processes"] == []
    assert answer["findings"] == find(answer)
    json.dumps(answer)


@pytest.mark.skipif(compiler() is None, reason="NOT CHECKED: the stand-in for NVML is built with a C compiler")
@settings(deadline=None, max_examples=80)
@given(
    errors=st.dictionaries(st.sampled_from(sorted(set(RTX_4090) - {"pci"})), st.sampled_from([2, 3, 4, 9, 15, 16, 999]))
)
def test_whatever_nvml_refuses_the_rest_is_told(errors: dict[str, int]) -> None:
    gpu = {**RTX_4090, **{key: f"!{code}" for key, code in errors.items()}}
    answer = look(root="/nowhere", nvml_library=answering(gpus=[gpu]))
    (found,) = answer["gpus"]
    assert found["pci_address"] == "0000:01:00.0"
    assert (found["uuid"] is None) == ("uuid" in errors)
    assert (found["memory_mib"] is None) == bool({"memory_mib", "memory_used_mib"} & set(errors))
    json.dumps(answer)
