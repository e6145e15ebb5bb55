# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver as files and the kernel show it: packages, modules, DKMS, the running module, Secure Boot, the machine."""

from __future__ import annotations

import io
import sqlite3
import struct
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils import _driver, _driver_traces, _gpu_platform
from ansible_collections.gpulab.workstation.plugins.module_utils._driver_module import find_module, modinfo
from ansible_collections.gpulab.workstation.plugins.module_utils._driver_traces import (
    installed_packages,
    read_traces,
    rpm_tag,
)
from ansible_collections.gpulab.workstation.plugins.module_utils._tree import Tree
from hypothesis import given, settings
from hypothesis import strategies as st
from support.pci_tree import EFI_GLOBAL, EFIVARS, MachineTree, kernel_module

KERNEL = "6.8.0-85-generic"


@pytest.fixture
def machine(tmp_path: Path) -> MachineTree:
    return MachineTree(tmp_path).kernel(KERNEL)


def tree(machine: MachineTree) -> Tree:
    return Tree(str(machine.root))


def driver_of(machine: MachineTree) -> dict[str, Any]:
    return _driver.read_driver(tree(machine), kernel=KERNEL, traces=read_traces(tree(machine)))


# ---- packages


def test_only_installed_packages_of_dpkg_count(machine: MachineTree) -> None:
    machine.deb("bash", "5.2-1").deb("nvidia-driver-580", "580.95.05-0ubuntu1")
    machine.deb("nvidia-driver-535", "535.1-1", status="deinstall ok config-files")
    machine.deb("nvidia-kernel-dkms", "535.1-1", status="install ok half-configured")
    assert installed_packages(tree(machine)) == {"nvidia-driver-580": "580.95.05-0ubuntu1"}


@pytest.mark.parametrize(
    ("packages", "told", "version", "modules"),
    [
        ({"nvidia-driver-580-open": "580.95.05-0ubuntu1"}, "nvidia-driver-580-open", "580.95.05", "open"),
        ({"nvidia-driver-570-server": "570.211.01-0ubuntu0.24.04.1"}, "nvidia-driver-570-server", "570.211.01", None),
        ({"nvidia-driver": "535.261.03-1~deb12u1"}, "nvidia-driver", "535.261.03", None),
        ({"nvidia-kernel-dkms": "535.1-1", "libcuda1": "535.1-1"}, "nvidia-kernel-dkms", "535.1", "proprietary"),
        ({"nvidia-dkms-580-server-open": "580.95.05-1"}, "nvidia-dkms-580-server-open", "580.95.05", "open"),
        ({"nvidia-headless-no-dkms-580": "580.95.05-1"}, "nvidia-headless-no-dkms-580", "580.95.05", "proprietary"),
        ({"nvidia-headless-no-dkms-580-open": "580.1-1"}, "nvidia-headless-no-dkms-580-open", "580.1", "open"),
        ({"nvidia-tesla-535-kernel-dkms": "535.1-1"}, "nvidia-tesla-535-kernel-dkms", "535.1", "proprietary"),
        ({"cuda-drivers-580": "580.95.05-1"}, "cuda-drivers-580", "580.95.05", "proprietary"),
        ({"nvidia-open": "595.91.07-1"}, "nvidia-open", "595.91.07", "open"),
        ({"libnvidia-compute-580": "580.95.05-1"}, "libnvidia-compute-580", "580.95.05", None),
        ({"nvidia-modprobe": "580.95.05-1", "nvidia-settings": "510.47.03-1"}, None, None, None),
    ],
)  # fmt: skip
def test_the_package_that_stands_for_the_driver_is_found(
    machine: MachineTree, packages: dict[str, str], told: str | None, version: str | None, modules: str | None
) -> None:
    for name, package_version in packages.items():
        machine.deb(name, package_version)
    driver = driver_of(machine)
    assert (driver["package"], driver["installed"], driver["modules"]) == (told, version, modules)


def rpm_header(**tags: str) -> bytes:
    numbers = {"name": 1000, "version": 1001, "release": 1002}
    index, values = b"", b""
    for tag, value in tags.items():
        index += struct.pack(">IIII", numbers[tag], 6, len(values), 1)
        values += value.encode() + b"\0"
    return struct.pack(">II", len(tags), len(values)) + index + values


def rpm_database(root: Path, *headers: dict[str, str]) -> None:
    """The tables of rpm's own database that are read."""
    (root / "var/lib/rpm").mkdir(parents=True)
    with sqlite3.connect(root / "var/lib/rpm/rpmdb.sqlite") as connection:
        connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
        connection.execute("CREATE TABLE Name (key TEXT NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
        for number, header in enumerate(headers, 1):
            connection.execute("INSERT INTO Packages VALUES (?, ?)", (number, rpm_header(**header)))
            connection.execute("INSERT INTO Name VALUES (?, ?, 0)", (header["name"], number))
    connection.close()


def test_rpms_are_read_from_rpms_own_database(machine: MachineTree) -> None:
    rpm_database(
        machine.root,
        {"name": "bash", "version": "5.1.8", "release": "9.el9"},
        {"name": "nvidia-open", "version": "580.95.05", "release": "1.el9"},
        {"name": "kmod-nvidia-open-dkms", "version": "580.95.05", "release": "1.el9"},
    )
    assert installed_packages(tree(machine)) == {
        "nvidia-open": "580.95.05-1.el9",
        "kmod-nvidia-open-dkms": "580.95.05-1.el9",
    }
    driver = driver_of(machine)
    assert (driver["package"], driver["installed"], driver["modules"]) == ("nvidia-open", "580.95.05", "open")


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(84)])
def test_a_broken_rpm_database_has_no_packages(machine: MachineTree, content: bytes) -> None:
    machine.write("usr/lib/sysimage/rpm/rpmdb.sqlite", content)
    assert installed_packages(tree(machine)) == {}


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_rpm_header_is_read_or_none(header: bytes) -> None:
    assert rpm_tag(header, 1000) is None or isinstance(rpm_tag(header, 1000), str)


# ---- the module


@pytest.mark.parametrize(("modules", "signed"), [("open", True), ("proprietary", False)])
def test_the_module_on_disk_tells_version_kind_and_signature(machine: MachineTree, modules: str, signed: bool) -> None:
    machine.module_file("580.95.05", modules=modules, signed=signed)
    path = f"/lib/modules/{KERNEL}/updates/dkms/nvidia.ko"
    assert find_module(tree(machine), KERNEL) == (path, "580.95.05", modules, signed)


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ("updates/dkms/nvidia-current.ko", True),
        ("updates/dkms/nvidia-current-open.ko", True),
        ("updates/dkms/nvidia-tesla-470.ko", True),
        ("kernel/nvidia-580-open/nvidia.ko", True),
        ("extra/nvidia.ko.xz", True),
        ("updates/dkms/nvidia.ko.zst", True),
        ("updates/dkms/nvidia-drm.ko", False),
        ("updates/dkms/nvidia-current-modeset.ko", False),
        ("kernel/drivers/video/fbdev/nvidia/nvidiafb.ko.zst", False),
        ("kernel/drivers/i2c/busses/i2c-nvidia-gpu.ko", False),
    ],
)
def test_the_nvidia_module_is_told_from_its_neighbours(machine: MachineTree, listed: str, found: bool) -> None:
    machine.write(f"lib/modules/{KERNEL}/modules.dep", f"kernel/fs/ext4.ko:\n{listed}: kernel/video.ko\n")
    assert (find_module(tree(machine), KERNEL) is not None) is found


def test_a_compressed_module_is_there_and_tells_no_more(machine: MachineTree) -> None:
    machine.write(f"lib/modules/{KERNEL}/modules.dep", "extra/nvidia.ko.xz:\n")
    module = find_module(tree(machine), KERNEL)
    assert module == (f"/lib/modules/{KERNEL}/extra/nvidia.ko.xz", None, None, None)


@settings(deadline=None)
@given(st.data())
def test_any_damage_to_a_module_is_read_over(data: st.DataObject) -> None:
    module = bytearray(kernel_module("580.95.05"))
    for _count in range(data.draw(st.integers(1, 8))):
        module[data.draw(st.integers(0, len(module) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(modinfo(io.BytesIO(module[: data.draw(st.integers(0, len(module)))])), dict)


@pytest.mark.parametrize(
    ("banner", "version", "modules"),
    [
        ("NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023", "535.104.05", "proprietary"),
        (
            "NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder@U22-I3)",
            "580.65.06",
            "open",
        ),
        ("NVIDIA UNIX Open Kernel Module for aarch64  570.86.10  Release Build", "570.86.10", "open"),
        ("something else", None, None),
    ],
)
def test_the_running_module_tells_its_version_and_kind(
    machine: MachineTree, banner: str, version: str | None, modules: str | None
) -> None:
    machine.write("proc/driver/nvidia/version", f"NVRM version: {banner}\nGCC version:  gcc 13\n")
    driver = driver_of(machine)
    assert (driver["loaded"], driver["modules"]) == (version, modules)


def test_the_flavour_on_disk_is_told_from_the_running_one(machine: MachineTree) -> None:
    machine.write("proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Sat\n")
    machine.write(f"lib/modules/{KERNEL}/modules.dep", "updates/dkms/nvidia.ko.zst:\n")
    machine.deb("nvidia-dkms-580-open", "580.95.05-1")
    driver = driver_of(machine)
    assert (driver["modules"], driver["module_flavour"]) == ("proprietary", "open")


def test_the_library_is_the_one_that_programs_get(machine: MachineTree) -> None:
    machine.library("535.261.03").library("580.95.05")  # the older file is left over
    assert _driver_traces.library_version(tree(machine)) == "580.95.05"


def test_the_library_of_debian_is_found_behind_its_alternatives(machine: MachineTree) -> None:
    place = "usr/lib/x86_64-linux-gnu"
    machine.link(f"{place}/libnvidia-ml.so.1", "/etc/alternatives/libnvidia-ml.so.1")
    machine.link("etc/alternatives/libnvidia-ml.so.1", f"/{place}/nvidia/current/libnvidia-ml.so.1")
    machine.link(f"{place}/nvidia/current/libnvidia-ml.so.1", "libnvidia-ml.so.535.261.03")
    machine.write(f"{place}/nvidia/current/libnvidia-ml.so.535.261.03")
    assert _driver_traces.library_version(tree(machine)) == "535.261.03"


# ---- DKMS, nouveau, kernel


def test_dkms_tells_what_it_has_and_for_which_kernel(machine: MachineTree) -> None:
    machine.dkms("580.95.05", kernel=KERNEL).dkms("570.211.01", kernel="6.8.0-79-generic", state="built")
    machine.dkms("595.91.07").write("var/lib/dkms/zfs/2.2/source")
    entries = [(entry["version"], entry["kernel"], entry["state"]) for entry in _driver.read_dkms(tree(machine))]
    assert entries == [
        ("570.211.01", "6.8.0-79-generic", "built"),
        ("580.95.05", KERNEL, "installed"),
        ("595.91.07", None, "added"),
    ]


@pytest.mark.parametrize(
    ("file", "text", "blacklisted"),
    [
        ("etc/modprobe.d/nouveau.conf", "blacklist nouveau\noptions nouveau modeset=0\n", True),
        ("usr/lib/modprobe.d/nvidia-installer.conf", "# by hand\n  blacklist  nouveau\n", True),
        ("etc/modprobe.d/nouveau.conf", "install nouveau /bin/false\n", True),
        ("etc/modprobe.d/nouveau.conf", "# blacklist nouveau\n", False),
        ("etc/modprobe.d/nouveau.conf.dpkg-old", "blacklist nouveau\n", False),
        ("etc/modprobe.d/nouveau.conf", "blacklist nouveau_other\n", False),
    ],
)
def test_nouveau_is_kept_from_loading_only_by_a_rule_that_counts(
    machine: MachineTree, file: str, text: str, blacklisted: bool
) -> None:
    assert _gpu_platform.read_nouveau(tree(machine.write(file, text)))["blacklisted"] is blacklisted


def test_headers_are_there_only_if_their_makefile_is(tmp_path: Path) -> None:
    assert _gpu_platform.read_kernel(tree(MachineTree(tmp_path / "a").kernel(KERNEL)))["headers"] is True
    dangling = MachineTree(tmp_path / "b").kernel(KERNEL, headers=False)
    dangling.link(f"lib/modules/{KERNEL}/build", f"/usr/src/linux-headers-{KERNEL}")
    assert _gpu_platform.read_kernel(tree(dangling))["headers"] is False


def test_an_image_runs_no_kernel(tmp_path: Path) -> None:
    (tmp_path / "lib/modules/6.1.0-40-amd64").mkdir(parents=True)
    kernel = _gpu_platform.read_kernel(Tree(str(tmp_path)))
    assert (kernel["running"], kernel["headers"], kernel["installed"]) == (None, None, ["6.1.0-40-amd64"])


# ---- Secure Boot and the machine


@pytest.mark.parametrize(("enabled", "validation", "state"), [(True, True, "enabled"), (False, True, "disabled")])
def test_secure_boot_is_read_from_the_firmware(
    machine: MachineTree, enabled: bool, validation: bool, state: str
) -> None:
    machine.secure_boot(enabled=enabled, validation=validation)
    assert _gpu_platform.read_secure_boot(tree(machine), container=None)["state"] == state


def test_secure_boot_that_shim_was_told_to_ignore_is_disabled(machine: MachineTree) -> None:
    machine.secure_boot(enabled=True, validation=False)
    assert _gpu_platform.read_secure_boot(tree(machine), container=None)["state"] == "disabled"


def test_a_machine_started_by_a_bios_has_no_secure_boot(machine: MachineTree) -> None:
    assert _gpu_platform.read_secure_boot(tree(machine), container=None)["state"] == "unsupported"


def test_what_is_hidden_is_not_guessed(tmp_path: Path, machine: MachineTree) -> None:
    assert _gpu_platform.read_secure_boot(tree(machine), container="docker")["state"] is None
    assert _gpu_platform.read_secure_boot(Tree(str(tmp_path / "image")), container=None)["state"] is None
    machine.write("sys/firmware/efi/systab")  # EFI, its variables not mounted
    assert _gpu_platform.read_secure_boot(tree(machine), container=None)["state"] is None


def test_a_variable_of_the_wrong_size_is_not_read(machine: MachineTree) -> None:
    machine.write(f"{EFIVARS}/SecureBoot-{EFI_GLOBAL}", b"\1")
    assert _gpu_platform.read_secure_boot(tree(machine), container=None)["state"] is None


def test_efi_without_the_variable_has_no_secure_boot(machine: MachineTree) -> None:
    machine.write(f"{EFIVARS}/BootOrder-{EFI_GLOBAL}", b"\x07\0\0\0\0\0")
    assert _gpu_platform.read_secure_boot(tree(machine), container=None)["state"] == "unsupported"


@pytest.mark.parametrize(
    ("files", "virtualization", "container"),
    [
        ({}, None, None),
        ({"sys/class/dmi/id/product_name": "KVM"}, "kvm", None),
        ({"sys/class/dmi/id/sys_vendor": "QEMU"}, "qemu", None),
        ({"sys/class/dmi/id/sys_vendor": "VMware, Inc."}, "vmware", None),
        ({"sys/class/dmi/id/product_name": "VirtualBox"}, "oracle", None),
        ({"sys/class/dmi/id/sys_vendor": "Amazon EC2"}, "amazon", None),
        ({"sys/class/dmi/id/product_name": "Google Compute Engine"}, "google", None),
        ({"sys/class/dmi/id/product_name": "Virtual Machine"}, "microsoft", None),
        ({"proc/cpuinfo": "processor : 0\nflags\t\t: fpu vme hypervisor lahf_lm\n"}, "other", None),
        ({"proc/cpuinfo": "processor : 0\nflags\t\t: fpu vme lahf_lm\n"}, None, None),
        ({".dockerenv": ""}, None, "docker"),
        ({"run/.containerenv": ""}, None, "podman"),
        ({"run/systemd/container": "systemd-nspawn\n"}, None, "systemd-nspawn"),
        ({"proc/1/environ": "PATH=/bin\0container=lxc\0"}, None, "lxc"),
        ({"proc/sys/kernel/osrelease": "5.15.167.4-microsoft-standard-WSL2"}, "wsl", None),
    ],
)
def test_what_surrounds_the_gpus_is_named(
    machine: MachineTree, files: dict[str, str], virtualization: str | None, container: str | None
) -> None:
    for path, content in files.items():
        machine.write(path, content)
    platform = _gpu_platform.read_platform(tree(machine))
    assert (platform["virtualization"], platform["container"]) == (virtualization, container)


# ---- the tree itself


def test_an_absolute_link_stays_inside_the_tree(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("outside")
    root = MachineTree(tmp_path / "root").link("etc/file", "/outside").write("outside", "inside").root
    assert Tree(str(root)).text("etc/file") == "inside"


def test_a_link_cannot_climb_out_of_the_tree(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    root = MachineTree(tmp_path / "root").link("etc/file", "../../../../secret").root
    assert Tree(str(root)).text("etc/file") is None


def test_links_in_a_circle_are_not_followed_for_ever(tmp_path: Path) -> None:
    root = MachineTree(tmp_path).link("a", "/b").link("b", "/a").root
    assert Tree(str(root)).text("a") is None
