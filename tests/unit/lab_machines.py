"""Machines for the tests of the resolver: GPUs and operating systems by the names people give them."""

from __future__ import annotations

from datetime import date
from typing import Any

# The day on which the tables were written; what ends later has not ended yet.
TODAY = date(2026, 11, 23)

# name: device id, architecture, compute capability, kernel modules, last driver branch
_GPUS = {
    "GTX 580": ("0x1080", "fermi", "2.0", "proprietary", "390"),
    "GTX 680": ("0x1180", "kepler", "3.0", "proprietary", "470"),
    "K80": ("0x102d", "kepler", "3.7", "proprietary", "470"),
    "GT 710": ("0x128b", "kepler", "3.5", "proprietary", "470"),
    "GTX 750 Ti": ("0x1380", "maxwell", "5.0", "proprietary", "580"),
    "GTX 970": ("0x13c2", "maxwell", "5.2", "proprietary", "580"),
    "P100": ("0x15f8", "pascal", "6.0", "proprietary", "580"),
    "GTX 1080 Ti": ("0x1b06", "pascal", "6.1", "proprietary", "580"),
    "V100": ("0x1db4", "volta", "7.0", "proprietary", "580"),
    "T4": ("0x1eb8", "turing", "7.5", "either", None),
    "RTX 2080 Ti": ("0x1e07", "turing", "7.5", "either", None),
    "A100": ("0x20b0", "ampere", "8.0", "either", None),
    "RTX 3090": ("0x2204", "ampere", "8.6", "either", None),
    "RTX 4090": ("0x2684", "ada", "8.9", "either", None),
    "L4": ("0x27b8", "ada", "8.9", "either", None),
    "H100": ("0x2330", "hopper", "9.0", "either", None),
    "GH200": ("0x2342", "hopper", "9.0", "open", None),
    "B200": ("0x2901", "blackwell", "10.0", "open", None),
    "B300": ("0x3182", "blackwell", "10.3", "open", None),
    "RTX 5090": ("0x2b85", "blackwell", "12.0", "open", None),
    "RTX PRO 6000": ("0x2bb1", "blackwell", "12.0", "open", None),
    # Newer than a driver branch or than the tables.
    "Blackwell 2C3A": ("0x2c3a", "blackwell", "12.0", "open", None),
    "Blackwell 2C09": ("0x2c09", "blackwell", None, "open", None),
    "Ampere by range": ("0x25fb", "ampere", None, "either", None),
    "Rubin": ("0x3300", "rubin", None, "open", None),
    "Unheard-of": ("0x3fff", None, None, None, None),
}
GPU_NAMES = tuple(_GPUS)

# name: id, version, C library, compiler, the distribution's own Python
_SYSTEMS = {
    "ubuntu 22.04": ("ubuntu", "22.04", "2.35", "11.4.0", "3.10.12"),
    "ubuntu 24.04": ("ubuntu", "24.04", "2.39", "13.2.0", "3.12.3"),
    "ubuntu 26.04": ("ubuntu", "26.04", "2.43", "15.2.0", "3.14.0"),
    "debian 12": ("debian", "12", "2.36", "12.2.0", "3.11.2"),
    "debian 13": ("debian", "13", "2.41", "14.2.0", "3.13.5"),
    "rocky 9": ("rocky", "9.5", "2.34", "11.5.0", "3.9.21"),
    "rhel 10": ("rhel", "10.2", "2.39", "14.3.1", "3.12.9"),
    "stream 9": ("centos", "9", "2.34", "11.5.0", "3.9.21"),
    "stream 10": ("centos", "10", "2.39", "14.3.1", "3.12.9"),
    "rocky 8": ("rocky", "8.10", "2.28", "8.5.0", "3.6.8"),
    "centos 7": ("centos", "7", "2.17", "4.8.5", "3.6.8"),
    "ubuntu 20.04": ("ubuntu", "20.04", "2.31", "9.4.0", "3.8.10"),
    "fedora 44": ("fedora", "44", "2.43", "16.0.0", "3.14.0"),
}
SUPPORTED = tuple(list(_SYSTEMS)[:9])


def gpu_facts(*names: str, driver: str | None = None, **facts: Any) -> dict[str, Any]:
    """Return what gpu_info says of a machine with these GPUs; ``driver`` is one that works."""
    versions = dict.fromkeys(("installed", "loaded", "library"), driver)
    told = {"package": "nvidia-driver", "modules": facts.pop("modules", "open")} if driver else {}
    return {
        "gpus": [_gpu(name, index) for index, name in enumerate(names)],
        "driver": {"package": None, "modules": None, **versions, **told},
        "nvswitches": 0,
        "secure_boot": "disabled",
        "platform": {"virtualization": None, "container": None, "wsl": False},
        **facts,
    }


def _gpu(name: str, index: int) -> dict[str, Any]:
    device, architecture, capability, modules, last = _GPUS[name]
    return {
        "index": index,
        "pci_address": f"0000:{index + 1:02x}:00.0",
        "uuid": None,  # known only to a driver that runs
        "device_id": device,
        "name": f"NVIDIA {name}",
        "architecture": architecture,
        "compute_capability": capability,
        "kernel_modules": modules,
        "last_branch": last,
    }


def system_facts(name: str, *, pythons: dict[str, str] | None = None, **facts: Any) -> dict[str, Any]:
    """Return the ``system`` of stack_info; ``pythons`` are {path: version}, by default the distribution's own."""
    identity, version, glibc, gcc, python = _SYSTEMS[name]
    minor = ".".join(python.split(".")[:2])
    found = pythons if pythons is not None else {f"/usr/bin/python{minor}": python}
    return {
        "id": identity,
        "version": version,
        "name": name,
        "architecture": "x86_64",
        "kernel": None,
        "glibc": glibc,
        "gcc": gcc,
        "foreign_sources": [],
        "pythons": [{"path": path, "version": number} for path, number in found.items()],
        **facts,
    }
