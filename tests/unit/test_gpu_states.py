# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states that hurt people, each a whole machine: what is seen, and what it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils._gpu import look
from support.nvml_stand_in import RTX_4090, answering, compiler
from support.pci_tree import EFIVARS, NVSWITCH, SHIM, THREE_D, VGA, MachineTree

needs_nvml = pytest.mark.skipif(
    compiler() is None, reason="NOT CHECKED: the stand-in for NVML is built with a C compiler"
)

KERNEL = "6.8.0-85-generic"
DRIVER = "580.95.05"
FIXTURES = Path(__file__).parents[1] / "fixtures"

A100: dict[str, Any] = {
    **RTX_4090,
    "name": "NVIDIA A100-SXM4-80GB",
    "device_id": "0x20b2",
    "compute_capability": "8.0",
    "architecture": 7,
    "memory_mib": 81920,
    "ecc_current": 1,
    "ecc_pending": 1,
    "ecc_corrected": 0,
    "ecc_uncorrected": 0,
    "remapped_corrected": 0,
    "remapped_uncorrected": 0,
    "remap_pending": 0,
    "remap_failed": 0,
    "mig_current": 0,
    "mig_pending": 0,
}


@pytest.fixture
def bare(tmp_path: Path) -> MachineTree:
    """A machine with a kernel and nothing else."""
    return MachineTree(tmp_path).kernel(KERNEL)


@pytest.fixture
def well(tmp_path: Path) -> MachineTree:
    """A machine with one RTX 4090 whose driver is installed, loaded and complete."""
    machine = MachineTree(tmp_path).kernel(KERNEL).gpu("0x2684", driver="nvidia")
    machine.loaded(DRIVER).library(DRIVER).module_file(DRIVER, signed=True).dkms(DRIVER, kernel=KERNEL)
    return machine.deb("nvidia-driver-580-open", f"{DRIVER}-0ubuntu1")


def seen(machine: MachineTree, **options: Any) -> dict[str, Any]:
    return look(root=str(machine.root), **options)


def with_nvml(machine: MachineTree, *gpus: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return seen(machine, nvml_library=answering(machine=settings, gpus=gpus))


def codes(answer: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in answer["findings"]]


def message(answer: dict[str, Any], code: str) -> str:
    return " ".join(finding["message"] for finding in answer["findings"] if finding["code"] == code)


# ---- well ------------------------------------------------------------------------------------------------------------


@needs_nvml
def test_a_machine_that_is_well_has_no_findings(well: MachineTree) -> None:
    answer = with_nvml(well, RTX_4090)
    assert answer["findings"] == []
    assert answer["driver"] == {
        "installed": DRIVER,
        "package": "nvidia-driver-580-open",
        "package_version": f"{DRIVER}-0ubuntu1",
        "fabric_manager": None,
        "module_file": f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko",
        "module_version": DRIVER,
        "module_flavour": "open",
        "module_signed": True,
        "loaded": DRIVER,
        "library": DRIVER,
        "modules": "open",
        "cuda": "13.0",
    }
    (gpu,) = answer["gpus"]
    assert (gpu["chip"], gpu["identified_by"], gpu["state"], gpu["index"]) == ("AD102", "nvml", "ok", 0)
    assert answer["sources"]["nvml"]["answered"] and answer["sources"]["pci"]["answered"]
    assert answer["sources"]["nvidia_smi"]["asked"] is None


def test_a_machine_without_a_gpu_has_no_findings(bare: MachineTree) -> None:
    answer = seen(bare)
    assert (answer["gpus"], answer["findings"], answer["driver"]["installed"]) == ([], [], None)


# ---- the driver ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "architecture", "capability", "modules", "branch"),
    [
        ("0x1eb8", "turing", "7.5", "either", None),
        ("0x2684", "ada", "8.9", "either", None),
        ("0x2330", "hopper", "9.0", "either", None),
        ("0x1db6", "volta", "7.0", "proprietary", "580"),
        ("0x2b85", "blackwell", "12.0", "open", None),
    ],
)
def test_before_any_driver_the_gpu_is_known_by_its_number(
    bare: MachineTree, device: str, architecture: str, capability: str, modules: str, branch: str | None
) -> None:
    answer = seen(bare.gpu(device))
    (gpu,) = answer["gpus"]
    assert (gpu["architecture"], gpu["compute_capability"], gpu["identified_by"]) == (architecture, capability, "table")
    assert (gpu["kernel_modules"], gpu["last_branch"], gpu["state"], gpu["index"]) == (modules, branch, "undriven", 0)
    assert codes(answer) == ["driver_absent"]


def test_driver_installed_but_not_loaded(bare: MachineTree) -> None:
    bare.gpu("0x2684").module_file(DRIVER).deb("nvidia-driver-580-open", f"{DRIVER}-0ubuntu1")
    assert codes(seen(bare)) == ["driver_not_loaded"]


def test_a_driver_without_a_module_for_the_running_kernel_says_that(bare: MachineTree) -> None:
    answer = seen(bare.gpu("0x2684").deb("nvidia-driver-580-open", f"{DRIVER}-0ubuntu1"))
    assert codes(answer) == ["driver_not_loaded"]
    assert f"Kernel {KERNEL} has no nvidia module" in message(answer, "driver_not_loaded")


def test_nouveau_holds_the_card(bare: MachineTree) -> None:
    bare.gpu("0x2684", driver="nouveau").write("sys/module/nouveau/version", "").module_file(DRIVER)
    answer = seen(bare)
    assert codes(answer) == ["nouveau_in_use"]
    assert answer["nouveau"] == {
        "loaded": True,
        "module": "nouveau",
        "blacklisted": False,
        "holds": ["0000:01:00.0"],
    }


def test_nova_holds_the_card_as_nouveau_would(bare: MachineTree) -> None:
    bare.gpu("0x2684", driver="nova_core").write("sys/module/nova_core/version", "")
    assert "nova_core holds 0000:01:00.0" in message(seen(bare), "nouveau_in_use")


def test_secure_boot_refuses_a_module_that_is_not_signed(bare: MachineTree) -> None:
    bare.gpu("0x2684").secure_boot(enabled=True).module_file(DRIVER, signed=False)
    answer = seen(bare)
    assert codes(answer) == ["secure_boot_refuses_module"]
    assert "is not signed" in message(answer, "secure_boot_refuses_module")


def test_secure_boot_refuses_a_module_signed_by_a_key_that_is_not_enrolled(bare: MachineTree) -> None:
    bare.gpu("0x2684").secure_boot(enabled=True).module_file(DRIVER, signed=True)
    bare.write("var/lib/shim-signed/mok/MOK.der", b"certificate").write(
        f"{EFIVARS}/MokListRT-{SHIM}", b"\x06\0\0\0list"
    )
    answer = seen(bare)
    assert codes(answer) == ["secure_boot_refuses_module"]
    assert answer["secure_boot_key"] == {"certificate": "/var/lib/shim-signed/mok/MOK.der", "enrolled": False}


def test_an_enrolled_key_is_not_blamed(bare: MachineTree) -> None:
    bare.gpu("0x2684").secure_boot(enabled=True).module_file(DRIVER, signed=True)
    bare.write("var/lib/dkms/mok.pub", b"certificate")
    bare.write(f"{EFIVARS}/MokListRT-{SHIM}", b"\x06\0\0\0..certificate..")
    assert codes(seen(bare)) == ["driver_not_loaded"]


def test_secure_boot_is_announced_before_the_first_driver(bare: MachineTree) -> None:
    assert codes(seen(bare.gpu("0x2684").secure_boot(enabled=True))) == ["driver_absent", "secure_boot_enabled"]


def test_dkms_not_built_for_the_running_kernel(bare: MachineTree) -> None:
    bare.gpu("0x2684").dkms(DRIVER, kernel="6.8.0-79-generic").library(DRIVER)
    answer = seen(bare)
    assert codes(answer) == ["dkms_not_built"]
    assert message(answer, "dkms_not_built") == f"DKMS has not built nvidia {DRIVER} for kernel {KERNEL}."


def test_dkms_that_cannot_build_for_want_of_headers_says_both(tmp_path: Path) -> None:
    machine = MachineTree(tmp_path).kernel(KERNEL, headers=False).gpu("0x2684").dkms(DRIVER).library(DRIVER)
    assert codes(seen(machine)) == ["dkms_not_built", "kernel_headers_missing"]


def test_a_newer_kernel_without_a_module_is_seen_before_the_reboot_into_it(well: MachineTree) -> None:
    well.write("lib/modules/6.8.0-90-generic/modules.dep", "kernel/fs/ext4/ext4.ko:\n")
    well.write("lib/modules/6.8.0-79-generic/modules.dep", "kernel/fs/ext4/ext4.ko:\n")
    well.write("lib/modules/6.8.0-101-generic/modules.dep", "updates/dkms/nvidia.ko:\n")
    answer = seen(well)
    assert answer["kernel"]["installed"][-1] == "6.8.0-101-generic", "the newest is the last"
    assert answer["kernel"]["newer_without_module"] == ["6.8.0-90-generic"]
    assert "next_kernel_without_module" in codes(answer)


@needs_nvml
def test_kernel_and_library_differ_error_18(well: MachineTree) -> None:
    well.library("580.105.08")
    answer = with_nvml(well, nvmlInit="!18")
    assert codes(answer) == ["driver_mismatch"]
    assert message(answer, "driver_mismatch") == f"The kernel runs driver {DRIVER}, the libraries are 580.105.08."
    assert answer["sources"]["nvml"]["code"] == 18
    assert answer["gpus"][0]["compute_capability"] == "8.9"  # PCI still tells


UVM = "/dev/nvidia-uvm"


@needs_nvml
def test_who_computes_is_seen_though_kernel_and_library_differ(well: MachineTree) -> None:
    well.library("580.105.08").gpu("0x2704", driver="nvidia").loaded(DRIVER, nodes=(0, 1))
    well.process(4711, user="ada", uid=1001, name="python3", opened=("/dev/null", UVM))
    well.process(4712, user="grace", uid=1002, name="lammps", opened=("/dev/nvidiactl", "/dev/nvidia1", UVM))
    well.process(4713, user="alan", uid=1003, name="julia", opened=(f"{UVM} (deleted)", "/dev/nvidia0"))
    well.process(900, user="root", uid=0, name="nvidia-persistenced", opened=("/dev/nvidia0", UVM))
    well.process(901, user="root", uid=0, name="nv-fabricmanager", opened=("/dev/nvidia0", UVM))
    well.process(2101, user="root", uid=0, name="Xorg", opened=("/dev/nvidia0", "/dev/nvidia-modeset"))
    first, second = with_nvml(well, nvmlInit="!18")["gpus"]
    assert first["processes"] == [
        {"pid": 4711, "user": "ada", "name": "python3", "kind": "compute", "memory_mib": None},
        {"pid": 4713, "user": "alan", "name": "julia", "kind": "compute", "memory_mib": None},
    ]
    assert [process["name"] for process in second["processes"]] == ["python3", "lammps"]


@needs_nvml
def test_no_process_is_searched_where_the_driver_tells_of_them(well: MachineTree) -> None:
    well.process(4711, user="ada", uid=1001, name="python3", opened=(UVM,))
    assert with_nvml(well, RTX_4090)["gpus"][0]["processes"] == []


def test_the_other_flavour_under_the_running_one_waits_for_a_reboot(well: MachineTree) -> None:
    well.module_file(DRIVER, modules="proprietary")
    assert seen(well)["reboot_reasons"] == ["the proprietary kernel modules are installed, the open ones run"]


def test_a_driver_upgraded_under_the_running_one_waits_for_a_reboot(well: MachineTree) -> None:
    well.module_file("580.105.08")
    answer = seen(well)
    assert answer["reboot_reasons"] == [f"driver 580.105.08 is installed, {DRIVER} runs"]
    assert "reboot_pending" in codes(answer)


def test_a_driver_that_is_ready_while_nouveau_still_runs_waits_for_a_reboot(bare: MachineTree) -> None:
    bare.gpu("0x2684", driver="nouveau").write("sys/module/nouveau/version", "").module_file(DRIVER)
    bare.write("etc/modprobe.d/gpulab-nvidia-driver.conf", "blacklist nouveau\n")
    answer = seen(bare)
    assert answer["reboot_reasons"] == [f"driver {DRIVER} is installed, nouveau runs"]
    assert "reboot_pending" in codes(answer)


def test_reboot_pending_by_the_mark_of_debian_and_ubuntu(well: MachineTree) -> None:
    well.write("run/reboot-required", "*** System restart required ***").write(
        "run/reboot-required.pkgs", "linux-image-6.8.0-90-generic\nlinux-base\nlinux-base\n"
    )
    reasons = ["/run/reboot-required is there: linux-base, linux-image-6.8.0-90-generic"]
    assert seen(well)["reboot_reasons"] == reasons


def test_reboot_pending_by_the_kernel_that_el_boots_next(tmp_path: Path) -> None:
    machine = MachineTree(tmp_path).kernel("5.14.0-503.11.1.el9_5.x86_64")
    machine.write("lib/modules/5.14.0-570.12.1.el9_6.x86_64/modules.dep", "")
    machine.write("boot/grub2/grubenv", "# GRUB\nsaved_entry=0123abcd-5.14.0-570.12.1.el9_6.x86_64\nboot_success=1\n")
    answer = seen(machine)
    assert answer["kernel"]["boots_next"] == "5.14.0-570.12.1.el9_6.x86_64"
    assert answer["reboot_reasons"] == [
        "kernel 5.14.0-570.12.1.el9_6.x86_64 boots next, 5.14.0-503.11.1.el9_5.x86_64 runs"
    ]


def test_a_running_kernel_whose_modules_are_gone_waits_for_a_reboot(bare: MachineTree) -> None:
    bare.write("proc/sys/kernel/osrelease", "6.8.0-31-generic\n")
    assert seen(bare)["reboot_reasons"] == ["the modules of the running kernel 6.8.0-31-generic are gone"]


@needs_nvml
def test_a_loaded_driver_without_its_library(well: MachineTree) -> None:
    for library in (well.root / "usr/lib/x86_64-linux-gnu").glob("libnvidia-ml*"):
        library.unlink()
    answer = seen(well, nvml_library=str(well.root / "libnvidia-ml.so.1"))
    assert codes(answer) == ["library_absent"]


@pytest.mark.parametrize(
    ("device", "modules", "code"),
    [("0x2b85", "proprietary", "wrong_kernel_modules"), ("0x1db6", "open", "wrong_kernel_modules")],
)
def test_the_wrong_kind_of_kernel_modules(bare: MachineTree, device: str, modules: str, code: str) -> None:
    assert code in codes(seen(bare.gpu(device, driver="nvidia").loaded("570.211.01", modules=modules)))


def test_a_driver_too_new_for_the_gpu(bare: MachineTree) -> None:
    answer = seen(bare.gpu("0x1db6").loaded("595.99.02", modules="proprietary").library("595.99.02"))
    assert "is supported up to driver 580, and this is 595" in message(answer, "driver_drops_gpu")


@needs_nvml
def test_a_gpu_that_the_running_driver_leaves_alone(well: MachineTree) -> None:
    answer = with_nvml(well.gpu("0x2704"), RTX_4090)
    assert codes(answer) == ["gpu_undriven"]
    assert [gpu["index"] for gpu in answer["gpus"]] == [0, None]


def test_a_driver_on_a_machine_without_a_gpu(bare: MachineTree) -> None:
    assert codes(seen(bare.library(DRIVER))) == ["driver_without_gpu"]


# ---- the way to the GPU ----------------------------------------------------------------------------------------------


@needs_nvml
def test_device_nodes_missing(tmp_path: Path) -> None:
    machine = (
        MachineTree(tmp_path).kernel(KERNEL).gpu("0x2684", driver="nvidia").library(DRIVER).loaded(DRIVER, nodes=())
    )
    answer = with_nvml(machine, nvmlInit="!9")
    assert codes(answer) == ["device_nodes_missing"]
    assert answer["device_nodes"]["missing"] == ["/dev/nvidiactl"]


@needs_nvml
def test_device_nodes_not_permitted(well: MachineTree) -> None:
    answer = with_nvml(well, nvmlInit="!4")
    assert codes(answer) == ["device_nodes_not_permitted"]
    assert "Insufficient Permissions" in message(answer, "device_nodes_not_permitted")


def test_device_nodes_closed_to_this_user(well: MachineTree, monkeypatch: pytest.MonkeyPatch) -> None:
    module = "ansible_collections.gpulab.workstation.plugins.module_utils._driver"
    monkeypatch.setattr(f"{module}.os.access", lambda path, mode: "nvidia0" not in path)
    assert message(seen(well), "device_nodes_not_permitted") == "This user may not use /dev/nvidia0."


@needs_nvml
def test_device_nodes_of_a_group_are_told(well: MachineTree) -> None:
    (well.root / "dev/nvidia0").chmod(0o660)
    answer = with_nvml(well, RTX_4090)
    assert codes(answer) == ["device_nodes_restricted"]
    assert answer["device_nodes"]["restricted"] == ["/dev/nvidia0"]


@needs_nvml
def test_nvswitches_without_their_fabric_manager(well: MachineTree) -> None:
    well.device("0000:c1:00.0", "0x10de", "0x22a3", NVSWITCH).device("0000:c2:00.0", "0x10de", "0x22a3", NVSWITCH)
    answer = with_nvml(well, RTX_4090)
    assert (answer["nvswitches"], answer["fabric_manager_running"]) == (2, False)
    assert codes(answer) == ["fabric_manager_absent"]


@needs_nvml
def test_nvswitches_with_their_fabric_manager_are_well(well: MachineTree) -> None:
    well.device("0000:c1:00.0", "0x10de", "0x22a3", NVSWITCH)
    well.process(900, user="root", uid=0, name="nv-fabricmanager")
    assert codes(with_nvml(well, RTX_4090)) == []


@needs_nvml
def test_a_fabric_manager_of_another_version(well: MachineTree) -> None:
    well.device("0000:c1:00.0", "0x10de", "0x22a3", NVSWITCH).deb("nvidia-fabricmanager-580", "580.65.06-1")
    well.process(900, user="root", uid=0, name="nv-fabricmanager")
    assert codes(with_nvml(well, RTX_4090)) == ["fabric_manager_mismatch"]


@needs_nvml
def test_gpus_that_wait_for_a_fabric_the_bus_does_not_show(well: MachineTree) -> None:
    assert codes(with_nvml(well, {**RTX_4090, "fabric_state": 1})) == ["fabric_manager_absent"]


# ---- the GPUs --------------------------------------------------------------------------------------------------------


@needs_nvml
def test_a_gpu_fallen_off_the_bus_error_15(well: MachineTree) -> None:
    well.gpu("0x2704", driver="nvidia")
    second = {**RTX_4090, "nvmlDeviceGetHandleByIndex_v2": "!15"}
    answer = with_nvml(well, RTX_4090, second)
    assert codes(answer) == ["gpu_lost"]
    assert [(gpu["pci_address"], gpu["state"]) for gpu in answer["gpus"]] == [
        ("0000:01:00.0", "ok"),
        ("0000:02:00.0", "lost"),
    ]
    assert answer["gpus"][1]["name"] == "NVIDIA GeForce RTX 4080"  # its number is still known


@needs_nvml
def test_when_it_is_not_clear_which_gpu_was_lost_none_is_blamed(well: MachineTree) -> None:
    well.gpu("0x2704", driver="nvidia").gpu("0x2782", driver="nvidia")
    answer = with_nvml(well, RTX_4090, {**RTX_4090, "nvmlDeviceGetHandleByIndex_v2": "!15"})
    states = [(gpu["pci_address"], gpu["state"]) for gpu in answer["gpus"]]
    assert states == [
        ("0000:01:00.0", "ok"),
        ("0000:02:00.0", "undriven"),
        ("0000:03:00.0", "undriven"),
        (None, "lost"),
    ]


def test_a_lost_gpu_is_seen_on_the_bus_alone(bare: MachineTree) -> None:
    bare.gpu("0x2684", driver="nvidia").pci_file("0000:01:00.0", "config", b"\xff" * 64)
    assert "gpu_lost" in codes(seen(bare))


@needs_nvml
def test_a_gpu_that_does_not_answer(well: MachineTree) -> None:
    answer = with_nvml(well, {**RTX_4090, "nvmlDeviceGetHandleByIndex_v2": "!999"})
    assert codes(answer) == ["gpu_unreadable"]
    assert "Unknown Error (NVML error 999)" in message(answer, "gpu_unreadable")


@needs_nvml
@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ({"ecc_uncorrected": 2}, "ecc_uncorrected"),
        ({"ecc_corrected": 40}, "ecc_corrected"),
        ({"remap_failed": 1}, "row_remap_failed"),
        ({"remap_pending": 1}, "row_remap_pending"),
        ({"ecc_pending": 0}, "mode_change_pending"),
        ({"mig_current": 1, "mig_pending": 1}, "mig_enabled"),
        ({"mig_pending": 1}, "mode_change_pending"),
        ({"pcie_width": 4}, "pcie_link_narrow"),
    ],
)
def test_what_a_data_centre_gpu_tells_of_itself(bare: MachineTree, setting: dict[str, int], code: str) -> None:
    bare.gpu("0x20b2", driver="nvidia", kind=THREE_D).loaded(DRIVER).library(DRIVER)
    assert codes(with_nvml(bare, {**A100, **setting})) == [code]


def test_a_gpu_newer_than_the_list_is_marked_as_inferred(bare: MachineTree) -> None:
    answer = seen(bare.gpu("0x3182"))
    assert (answer["gpus"][0]["identified_by"], answer["gpus"][0]["architecture"]) == ("range", "blackwell")
    assert codes(answer) == ["driver_absent", "gpu_inferred"]


@needs_nvml
def test_the_driver_knows_a_gpu_newer_than_the_list(bare: MachineTree) -> None:
    bare.gpu("0x3182", driver="nvidia").loaded(DRIVER).library(DRIVER)
    newer = {**RTX_4090, "device_id": "0x3182", "compute_capability": "10.3", "architecture": 10}
    (gpu,) = with_nvml(bare, newer)["gpus"]
    assert (gpu["identified_by"], gpu["compute_capability"], gpu["chip"]) == ("nvml", "10.3", None)


def test_a_gpu_older_than_the_list_is_not_known(bare: MachineTree) -> None:
    assert codes(seen(bare.gpu("0x0a65"))) == ["driver_absent", "gpu_unknown"]


def test_two_gpus_of_different_generations(bare: MachineTree) -> None:
    answer = seen(bare.gpu("0x1b80").gpu("0x2684"))
    assert message(answer, "mixed_generations") == "GPUs of different generations: ada, pascal."


def test_two_gpus_that_no_driver_serves_together(bare: MachineTree) -> None:
    answer = seen(bare.gpu("0x1db6").gpu("0x2b85"))
    assert "no driver serves both" in message(answer, "mixed_kernel_modules")


@needs_nvml
def test_ten_gpus(bare: MachineTree) -> None:
    gpus = []
    for bus in range(1, 11):
        bare.gpu("0x2684", driver="nvidia")
        gpus.append({**RTX_4090, "pci": f"0000:{bus:02x}:00.0", "uuid": f"GPU-{bus}", "minor": bus - 1})
    answer = with_nvml(bare.loaded(DRIVER, nodes=tuple(range(10))).library(DRIVER), *gpus)
    assert [(gpu["index"], gpu["uuid"]) for gpu in answer["gpus"]] == [(bus - 1, f"GPU-{bus}") for bus in range(1, 11)]
    assert codes(answer) == []


# ---- the machine around them -----------------------------------------------------------------------------------------


@needs_nvml
def test_a_container_with_the_hosts_driver(well: MachineTree) -> None:
    well.write(".dockerenv").process(4242, user="nobody", uid=65534, name="somebody-elses")
    answer = with_nvml(well, {**RTX_4090, "process": ["compute 4242 100"]})
    assert codes(answer) == ["container_with_host_driver"]
    (process,) = answer["gpus"][0]["processes"]
    assert (process["user"], process["name"]) == (None, None)  # the number is the host's


def test_a_container_that_was_not_given_the_gpu(tmp_path: Path) -> None:
    machine = MachineTree(tmp_path).kernel(KERNEL).gpu("0x2684", driver="nvidia").loaded(DRIVER, nodes=())
    assert codes(seen(machine.write("run/.containerenv"))) == ["container_without_gpu"]


def test_a_container_on_a_host_without_a_driver_is_not_told_to_install_one(bare: MachineTree) -> None:
    assert codes(seen(bare.gpu("0x2684").write("run/systemd/container", "lxc"))) == ["container_without_gpu"]


@needs_nvml
def test_wsl(tmp_path: Path) -> None:
    machine = MachineTree(tmp_path).kernel("5.15.167.4-microsoft-standard-WSL2", headers=False)
    machine.device("5582:00:00.0", "0x1414", "0x008e", THREE_D).write("usr/lib/wsl/lib/libnvidia-ml.so.1")
    answer = with_nvml(machine, {**RTX_4090, "process": ["compute 7 ?"]}, driver="581.29")
    assert codes(answer) == ["wsl"]
    assert answer["platform"]["virtualization"] == "wsl"
    assert (answer["gpus"][0]["state"], answer["gpus"][0]["chip"]) == ("ok", "AD102")


def test_a_gpu_given_to_a_guest(bare: MachineTree) -> None:
    answer = seen(bare.gpu("0x2684", driver="vfio-pci"))
    assert codes(answer) == ["gpu_passed_through"]
    assert answer["gpus"][0]["state"] == "passed_through"


@needs_nvml
def test_a_virtual_machine_that_was_given_a_gpu(well: MachineTree) -> None:
    well.write("sys/class/dmi/id/product_name", "KVM\n").write("sys/class/dmi/id/sys_vendor", "Red Hat\n")
    answer = with_nvml(well, RTX_4090)
    assert codes(answer) == ["gpu_in_virtual_machine"]
    assert answer["platform"]["virtualization"] == "kvm"


@needs_nvml
def test_a_hybrid_laptop(well: MachineTree) -> None:
    well.device("0000:00:02.0", "0x8086", "0x46a6", VGA).write("sys/class/dmi/id/chassis_type", "10\n")
    answer = with_nvml(well, RTX_4090)
    assert codes(answer) == ["hybrid_graphics"]
    assert answer["other_gpus"][0]["vendor"] == "Intel"


def test_only_gpus_of_other_vendors(bare: MachineTree) -> None:
    answer = seen(bare.device("0000:03:00.0", "0x1002", "0x744c", VGA))
    assert codes(answer) == ["only_other_vendors"]
    assert answer["gpus"] == []


# ---- sources ---------------------------------------------------------------------------------------------------------


def stand_in_nvidia_smi(directory: Path, report: str) -> str:
    program = directory / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nexec cat {FIXTURES / 'nvidia_smi' / report}\n")
    program.chmod(0o755)
    return str(program)


@needs_nvml
def test_nvidia_smi_speaks_where_nvml_does_not(tmp_path: Path, bare: MachineTree) -> None:
    bare.gpu("0x20b2", address="0000:07:00.0", driver="nvidia", kind=THREE_D).loaded("535.261.03").library("535.261.03")
    program = stand_in_nvidia_smi(tmp_path, "v12_a100_mig.xml")
    answer = seen(bare, nvml_library="/nowhere/libnvidia-ml.so.1", nvidia_smi=program)
    (gpu,) = answer["gpus"]
    assert (gpu["name"], gpu["memory_mib"], gpu["compute_capability"]) == ("NVIDIA A100-SXM4-80GB", 81920, "8.0")
    assert (gpu["identified_by"], gpu["display_attached"]) == ("table", False)  # its own flag says true
    assert answer["driver"]["cuda"] == "12.2"
    assert [answer["sources"][name]["answered"] for name in ("pci", "nvml", "nvidia_smi")] == [True, False, True]


@needs_nvml
def test_nvidia_smi_is_not_run_where_nvml_speaks(well: MachineTree) -> None:
    answer = seen(well, nvml_library=answering(gpus=[RTX_4090]), nvidia_smi="/bin/false")
    assert answer["sources"]["nvidia_smi"]["asked"] is None


def test_a_strange_nvidia_smi_is_named_and_hides_nothing(tmp_path: Path, well: MachineTree) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'Segmentation fault'\n")
    program.chmod(0o755)
    answer = seen(well, nvml_library="/nowhere/libnvidia-ml.so.1", nvidia_smi=str(program))
    assert "Segmentation fault" in message(answer, "nvidia_smi_unreadable")
    assert answer["gpus"][0]["architecture"] == "ada"


def test_another_tree_never_asks_the_running_machine(well: MachineTree) -> None:
    sources = seen(well)["sources"]
    assert (sources["nvml"]["asked"], sources["nvidia_smi"]["asked"]) == (None, None)


def test_who_computes_and_who_sits_at_the_desktop(well: MachineTree) -> None:
    well.process(4242, user="ada", uid=1001, name="python3").process(2101, user="root", uid=0, name="Xorg")
    well.session("ada").session("gdm", role="greeter").session("grace", kind="tty", seat="")
    answer = with_nvml(well, {**RTX_4090, "process": ["compute 4242 18000", "graphics 2101 180", "compute 99999 1"]})
    assert [(process["user"], process["name"], process["kind"]) for process in answer["gpus"][0]["processes"]] == [
        ("ada", "python3", "compute"),
        (None, None, "compute"),  # gone since
        ("root", "Xorg", "graphics"),
    ]
    assert [(session["user"], session["type"]) for session in answer["sessions"]] == [
        ("ada", "wayland"),
        ("grace", "tty"),
    ]
