# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine around a GPU driver: its kernel, Secure Boot, virtual or not, container, WSL, laptop, reboot pending."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional

from ansible_collections.gpulab.workstation.plugins.module_utils._dkms import configured_keys
from ansible_collections.gpulab.workstation.plugins.module_utils._tree import Tree

_EFIVARS = "sys/firmware/efi/efivars"
_SECURE_BOOT = f"{_EFIVARS}/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
_SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"

# The certificate whose key signs modules built here where DKMS is told of no other: Ubuntu's place, then DKMS's own.
_CERTIFICATES = ("var/lib/shim-signed/mok/MOK.der", "var/lib/dkms/mok.pub")

# DMI vendor or product -> hypervisor, in systemd's words.
_HYPERVISORS = (
    ("KVM", "kvm"),
    ("OpenStack", "kvm"),
    ("Amazon EC2", "amazon"),
    ("Google Compute Engine", "google"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("innotek GmbH", "oracle"),
    ("VirtualBox", "oracle"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Parallels", "parallels"),
    ("Virtual Machine", "microsoft"),
    ("Apple Virtualization", "apple"),
)

# SMBIOS chassis types: portable, laptop, notebook, sub-notebook, convertible, detachable.
_LAPTOPS = ("8", "9", "10", "14", "31", "32")


# The kernel's own drivers for NVIDIA's cards.
RIVALS = ("nouveau", "nova_core")
_MODPROBE = ("etc/modprobe.d", "run/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d")


def read_platform(tree: Tree) -> Dict[str, Any]:
    """Return the machine's kind; ``virtualization`` and ``container`` are None where there is none to be seen."""
    dmi = "sys/class/dmi/id"
    wsl = "microsoft" in (tree.text("proc/sys/kernel/osrelease") or "").lower()
    return {
        "virtualization": "wsl" if wsl else _virtualization(tree, dmi),
        "container": _container(tree),
        "wsl": wsl,
        "laptop": tree.text(f"{dmi}/chassis_type") in _LAPTOPS,
        "product": tree.text(f"{dmi}/product_name") or None,
    }


def read_kernel(tree: Tree) -> Dict[str, Any]:
    """Return the running kernel, whether its headers are there, the kernels installed, and the one that boots next."""
    running = tree.text("proc/sys/kernel/osrelease") or None
    # With /lib a link to /usr/lib, as it is now everywhere, both are the same.
    names = {name for place in ("lib/modules", "usr/lib/modules") for name in tree.names(place)}
    installed = sorted(names, key=lambda name: (numbers(name), name))
    return {
        "boot_id": tree.text("proc/sys/kernel/random/boot_id") or None,
        "running": running,
        "headers": None if running is None else tree.exists(f"lib/modules/{running}/build/Makefile"),
        "installed": installed,
        "boots_next": _boots_next(tree, installed),
        "newer_without_module": [],
    }


def numbers(kernel: str) -> List[int]:
    """Return the numbers of a kernel's release, by which a newer one is told."""
    return [int(number) for number in re.findall(r"[0-9]{1,9}", kernel)]


def read_nouveau(tree: Tree) -> Dict[str, Any]:
    """Return whether a kernel driver that claims NVIDIA's cards for itself is loaded, or kept from loading."""
    loaded = [name for name in RIVALS if tree.exists(f"sys/module/{name}")]
    return {"loaded": bool(loaded), "module": loaded[0] if loaded else None, "blacklisted": _blacklisted(tree)}


def fabric_manager_runs(tree: Tree) -> bool:
    """Whether the service that sets up the NVSwitches runs: the kernel keeps 15 characters of its name."""
    processes = (name for name in tree.names("proc") if name.isdigit())
    return any(tree.text(f"proc/{pid}/comm") == "nv-fabricmanage" for pid in processes)


def read_secure_boot(tree: Tree, *, container: Optional[str]) -> Dict[str, Any]:
    """Return Secure Boot's state, and whether the key that signs modules built here is enrolled."""
    configured = configured_keys(tree)
    places = (configured[1].lstrip("/"),) if configured else _CERTIFICATES
    certificate = next((place for place in places if tree.exists(place)), None)
    return {
        "state": _secure_boot(tree, container),
        "certificate": f"/{certificate}" if certificate else None,
        "enrolled": _enrolled(tree, certificate) if certificate else None,
    }


def reboot_reasons(tree: Tree, *, kernel: Dict[str, Any]) -> List[str]:
    """Return why the machine waits for a reboot, by the marks that its own system has left."""
    reasons = []
    if tree.exists("run/reboot-required") or tree.exists("var/run/reboot-required"):
        packages = sorted(set((tree.text("run/reboot-required.pkgs") or "").split()))
        reasons.append(f"/run/reboot-required is there{': ' + ', '.join(packages) if packages else ''}")
    running = kernel["running"]
    if running and kernel["installed"] and running not in kernel["installed"]:
        reasons.append(f"the modules of the running kernel {running} are gone")
    if running and kernel["boots_next"] not in (None, running):
        reasons.append(f"kernel {kernel['boots_next']} boots next, {running} runs")
    return reasons


def _boots_next(tree: Tree, installed: List[str]) -> Optional[str]:
    """Return the kernel that EL's boot loader names; Debian's and Ubuntu's take the newest, unless told otherwise."""
    entry = re.search(r"^saved_entry=(.*)$", tree.text("boot/grub2/grubenv") or "", re.MULTILINE)
    # The entry is named after the machine and the kernel.
    return next((name for name in installed if entry and entry.group(1).endswith(f"-{name}")), None)


def _virtualization(tree: Tree, dmi: str) -> Optional[str]:
    texts = [tree.text(f"{dmi}/{name}") or "" for name in ("product_name", "sys_vendor", "bios_vendor", "board_vendor")]
    for words, hypervisor in _HYPERVISORS:
        if any(words in text for text in texts):
            return hypervisor
    # The flag is on every CPU: the first one's lines are enough.
    flags = re.search(r"^flags\s*:.*\bhypervisor\b", tree.text("proc/cpuinfo", 8192) or "", re.MULTILINE)
    return "other" if flags else None


def _container(tree: Tree) -> Optional[str]:
    told = tree.text("run/systemd/container")
    if told:
        return told
    if tree.exists("run/.containerenv"):
        return "podman"
    if tree.exists(".dockerenv"):
        return "docker"
    environment = re.search(rb"(?:^|\0)container=([^\0]+)", tree.data("proc/1/environ") or b"")
    return environment.group(1).decode("utf-8", "replace") if environment else None


def _secure_boot(tree: Tree, container: Optional[str]) -> Optional[str]:
    # Four bytes of attributes, then the value.
    variable = tree.data(_SECURE_BOOT)
    if variable is not None:
        if len(variable) != 5:
            return None
        # The kernel obeys shim, which can be told not to care (mokutil --disable-validation).
        ignored = (tree.data(f"{_EFIVARS}/MokSBStateRT-{_SHIM}") or b"")[4:] == b"\1"
        return "enabled" if variable[4] == 1 and not ignored else "disabled"
    if tree.exists("sys/firmware/efi"):
        return None if container or not tree.names(_EFIVARS) else "unsupported"
    # Started by a BIOS; but a container engine hides the firmware, and an image has none.
    return None if container or not tree.exists("sys/firmware") else "unsupported"


def _enrolled(tree: Tree, certificate: str) -> Optional[bool]:
    """Whether a certificate is in the machine owner's list, which holds certificates as they are."""
    enrolled = tree.data(f"{_EFIVARS}/MokListRT-{_SHIM}")
    wanted = tree.data(certificate)
    return None if enrolled is None or not wanted else wanted in enrolled


def _blacklisted(tree: Tree) -> bool:
    rule = re.compile(rb"^\s*(blacklist\s+nouveau|install\s+nouveau\s+\S*/(false|true))\b", re.MULTILINE)
    files = (f"{place}/{name}" for place in _MODPROBE for name in tree.names(place) if name.endswith(".conf"))
    return any(rule.search(tree.data(file) or b"") for file in files)
