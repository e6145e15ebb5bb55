# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the files of a machine that is not here: sysfs, procfs and the rest, below a directory to give as ``root``.

machine = MachineTree(tmp_path).kernel("6.8.0-85-generic")
machine.gpu("0x2684", address="0000:01:00.0", driver="nvidia")
"""

from __future__ import annotations

import struct
from pathlib import Path

VGA, THREE_D, DISPLAY, AUDIO, NVSWITCH = "0x030000", "0x030200", "0x038000", "0x040300", "0x068000"

EFIVARS = "sys/firmware/efi/efivars"
EFI_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"


class MachineTree:
    """Each method adds one thing and returns the tree, so that a machine reads as a sentence."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._next_bus = 1
        (root / "sys/bus/pci/devices").mkdir(parents=True, exist_ok=True)
        (root / "sys/firmware").mkdir(exist_ok=True)

    def write(self, path: str, content: str | bytes = "") -> MachineTree:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return self

    def link(self, path: str, target: str) -> MachineTree:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.symlink_to(target)
        return self

    # ---- the PCI bus

    def gpu(
        self, device: str, *, address: str | None = None, driver: str | None = None, kind: str = VGA
    ) -> MachineTree:
        """An NVIDIA GPU with its audio function, as it sits on the bus."""
        address = address or f"0000:{self._next_bus:02x}:00.0"
        self._next_bus += 1
        self.device(address, "0x10de", device, kind, driver=driver)
        return self.device(address[:-1] + "1", "0x10de", "0x22ba", AUDIO)

    def device(self, address: str, vendor: str, device: str, kind: str, *, driver: str | None = None) -> MachineTree:
        """Any PCI device: in sysfs, the bus has a link to where the device really is."""
        real = f"sys/devices/pci0000:00/{address}"
        files = {
            "vendor": vendor,
            "device": device,
            "class": kind,
            "subsystem_vendor": "0x1043",
            "subsystem_device": "0x88e2",
            "current_link_speed": "2.5 GT/s PCIe",
            "current_link_width": "16",
            "max_link_speed": "16.0 GT/s PCIe",
            "max_link_width": "16",
        }
        for name, content in files.items():
            self.write(f"{real}/{name}", content + "\n")
        if driver:
            self.link(f"{real}/driver", f"../../../bus/pci/drivers/{driver}")
        return self.link(f"sys/bus/pci/devices/{address}", f"../../../devices/pci0000:00/{address}")

    def pci_file(self, address: str, name: str, content: str | bytes) -> MachineTree:
        return self.write(f"sys/devices/pci0000:00/{address}/{name}", content)

    # ---- the kernel

    def kernel(self, release: str, *, headers: bool = True) -> MachineTree:
        self.write("proc/sys/kernel/osrelease", release + "\n")
        self.write(f"lib/modules/{release}/modules.dep", "kernel/drivers/gpu/drm/nouveau/nouveau.ko.zst:\n")
        if headers:
            # An absolute link, as distributions make it: it has to be followed inside the tree.
            self.link(f"lib/modules/{release}/build", f"/usr/src/linux-headers-{release}")
            self.write(f"usr/src/linux-headers-{release}/Makefile")
        return self

    def loaded(self, version: str, *, modules: str = "open", nodes: tuple[int, ...] = (0,)) -> MachineTree:
        """NVIDIA's driver, running, with the device nodes of these GPUs."""
        kind = "Open Kernel Module for x86_64" if modules == "open" else "x86_64 Kernel Module"
        self.write("proc/driver/nvidia/version", f"NVRM version: NVIDIA UNIX {kind}  {version}  Release Build\n")
        self.write("sys/module/nvidia/version", version + "\n")
        for minor in nodes:
            information = f"Model: \t\t NVIDIA\nDevice Minor: \t {minor}\n"
            self.write(f"proc/driver/nvidia/gpus/0000:0{minor + 1}:00.0/information", information)
            self.write(f"dev/nvidia{minor}")
        for name in ("nvidiactl", "nvidia-uvm") if nodes else ():
            self.write(f"dev/{name}")
        for node in (self.root / "dev").glob("nvidia*"):
            node.chmod(0o666)
        return self

    def library(self, version: str) -> MachineTree:
        place = "usr/lib/x86_64-linux-gnu"
        self.write(f"{place}/libnvidia-ml.so.{version}")
        return self.link(f"{place}/libnvidia-ml.so.1", f"libnvidia-ml.so.{version}")

    def module_file(self, version: str, *, modules: str = "open", signed: bool = False) -> MachineTree:
        """nvidia.ko where DKMS puts it, in the list of the running kernel's modules."""
        release = (self.root / "proc/sys/kernel/osrelease").read_text().strip()
        self.write(f"lib/modules/{release}/modules.dep", "updates/dkms/nvidia.ko: kernel/drivers/video/video.ko\n")
        return self.write(f"lib/modules/{release}/updates/dkms/nvidia.ko", kernel_module(version, modules, signed))

    def dkms(self, version: str, *, kernel: str | None = None, state: str = "installed") -> MachineTree:
        self.link(f"var/lib/dkms/nvidia/{version}/source", f"/usr/src/nvidia-{version}")
        if kernel:
            self.write(f"var/lib/dkms/nvidia/{version}/{kernel}/x86_64/module/nvidia.ko")
        if kernel and state == "installed":
            self.link(f"var/lib/dkms/nvidia/kernel-{kernel}-x86_64", f"{version}/{kernel}/x86_64")
        return self

    # ---- packages, firmware, people

    def deb(self, name: str, version: str, *, status: str = "install ok installed") -> MachineTree:
        database = self.root / "var/lib/dpkg/status"
        before = database.read_text() if database.exists() else ""
        entry = (
            f"Package: {name}\nStatus: {status}\nArchitecture: amd64\nVersion: {version}\nDescription: a package\n\n"
        )
        return self.write("var/lib/dpkg/status", before + entry)

    def secure_boot(self, *, enabled: bool, validation: bool = True) -> MachineTree:
        self.write(f"{EFIVARS}/SecureBoot-{EFI_GLOBAL}", b"\x06\0\0\0" + bytes([enabled]))
        return self if validation else self.write(f"{EFIVARS}/MokSBStateRT-{SHIM}", b"\x06\0\0\0\1")

    def session(self, user: str, *, kind: str = "wayland", seat: str = "seat0", role: str = "user") -> MachineTree:
        text = f"UID=1000\nUSER={user}\nACTIVE=1\nSTATE=active\nTYPE={kind}\nCLASS={role}\nSEAT={seat}\n"
        return self.write(f"run/systemd/sessions/{user}-{kind}", text)

    def process(self, pid: int, *, user: str, uid: int, name: str, opened: tuple[str, ...] = ()) -> MachineTree:
        self.write(f"proc/{pid}/status", f"Name:\t{name}\nState:\tR (running)\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
        self.write(f"proc/{pid}/comm", name[:15] + "\n")
        for number, path in enumerate(opened, 3):
            self.link(f"proc/{pid}/fd/{number}", path)
        passwd = self.root / "etc/passwd"
        before = passwd.read_text() if passwd.exists() else ""
        return self.write("etc/passwd", before + f"{user}:x:{uid}:{uid}::/home/{user}:/bin/bash\n")


def kernel_module(version: str, modules: str = "open", signed: bool = False) -> bytes:
    """A 64-bit ELF file with a .modinfo section: all that is read of a module."""
    licence = {"open": "Dual MIT/GPL", "proprietary": "NVIDIA"}[modules]
    modinfo = f"version={version}\0license={licence}\0name=nvidia\0".encode()
    names = b"\0.modinfo\0.shstrtab\0"
    sections_at = 64 + len(modinfo) + len(names)
    header = b"\x7fELF\x02\x01\x01".ljust(40, b"\0") + struct.pack("<Q", sections_at)
    header = header.ljust(58, b"\0") + struct.pack("<HHH", 64, 3, 2)
    table = bytes(64) + _section(1, 64, len(modinfo)) + _section(10, 64 + len(modinfo), len(names))
    return header + modinfo + names + table + (b"signature~Module signature appended~\n" if signed else b"")


def _section(name: int, offset: int, size: int) -> bytes:
    return struct.pack("<IIQQQQ", name, 1, 0, 0, offset, size).ljust(64, b"\0")
