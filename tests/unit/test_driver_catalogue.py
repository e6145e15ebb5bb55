"""What each distribution and source calls a driver's packages."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils._driver_catalogue import (
    BUILDERS,
    OWNED,
    Wish,
    any_driver,
    driver_request,
    kernel_series,
)
from ansible_collections.gpulab.workstation.plugins.module_utils._packages import PackageError, Request, matches

SYSTEMS: Dict[str, Dict[str, str]] = {
    "debian12": {"id": "debian", "version": "12", "family": "debian", "name": "Debian 12"},
    "debian13": {"id": "debian", "version": "13", "family": "debian", "name": "Debian 13"},
    "ubuntu2404": {"id": "ubuntu", "version": "24.04", "family": "debian", "name": "Ubuntu 24.04"},
    "rocky9": {"id": "rocky", "version": "9.5", "family": "redhat", "name": "Rocky Linux 9.5"},
    "oracle9": {"id": "ol", "version": "9.5", "family": "redhat", "name": "Oracle Linux Server 9.5"},
    "rhel10": {"id": "rhel", "version": "10.0", "family": "redhat", "name": "RHEL 10"},
}
ARCHIVE = {"source": "distribution"}
KERNELS = {"debian": "6.1.0-56-amd64", "ubuntu": "6.8.0-85-generic"}


def _request(system: str, *, installed: Any = (), **changes: Any) -> Request:
    machine = SYSTEMS[system]
    fields: Dict[str, Any] = {
        "source": "nvidia",
        "branch": "580",
        "modules": "open",
        "kernel": KERNELS.get(machine["id"], "5.14.0-570.el9.x86_64"),
    }
    return driver_request(system=machine, wish=Wish(**{**fields, **changes}), installed=installed)


@pytest.mark.parametrize(
    ("system", "wish", "names"),
    [
        ("debian12", {**ARCHIVE, "branch": "535", "modules": "proprietary"}, "nvidia-kernel-dkms libcuda1 nvidia-smi"),
        ("debian12", {**ARCHIVE, "branch": "535"}, "nvidia-open-kernel-dkms libcuda1"),
        ("debian12", {**ARCHIVE, "branch": "535", "display": True}, "nvidia-driver"),
        ("debian13", {**ARCHIVE, "branch": "550"}, "nvidia-open-kernel-dkms libcuda1"),
        (
            "debian13",
            {**ARCHIVE, "branch": "535", "modules": "proprietary"},
            "nvidia-tesla-535-kernel-dkms nvidia-tesla-535-smi libnvidia-tesla-535-cuda1",
        ),
        ("debian13", {}, "nvidia-kernel-open-dkms nvidia-driver-cuda nvidia-persistenced nvidia-modprobe"),
        ("debian13", {"modules": "proprietary"}, "nvidia-kernel-dkms nvidia-driver-cuda"),
        ("debian13", {"display": True}, "nvidia-open"),
        ("debian13", {"display": True, "modules": "proprietary"}, "cuda-drivers"),
        ("ubuntu2404", {}, "libnvidia-compute-580 nvidia-dkms-580-open nvidia-utils-580 nvidia-modprobe"),
        ("ubuntu2404", {"modules": "proprietary"}, "nvidia-dkms-580"),
        ("ubuntu2404", {"display": True}, "nvidia-open-580"),
        ("ubuntu2404", {"branch": "595"}, "libnvidia-compute nvidia-dkms-open nvidia-persistenced"),
        ("ubuntu2404", {"branch": "595", "modules": "proprietary", "display": True}, "nvidia-dkms cuda-drivers"),
        ("ubuntu2404", {"fabric_manager": True}, "nvidia-fabricmanager-580"),
        ("ubuntu2404", {**ARCHIVE}, "nvidia-utils-580 linux-modules-nvidia-580-open-6.8.0-85-generic"),
        (
            "ubuntu2404",
            {**ARCHIVE, "fabric_manager": True},
            "nvidia-headless-no-dkms-580-server-open nvidia-fabricmanager-580"
            " linux-modules-nvidia-580-server-open-generic",
        ),
        ("ubuntu2404", {**ARCHIVE, "precompiled": False}, "nvidia-dkms-580-open linux-headers-6.8.0-85-generic"),
        ("rocky9", {}, "kmod-nvidia-open-dkms nvidia-driver-cuda kernel-devel-matched"),
        ("rocky9", {"modules": "proprietary"}, "kmod-nvidia-latest-dkms"),
        ("rocky9", {"branch": "570", "fabric_manager": True}, "nvidia-fabric-manager"),
        ("rhel10", {"fabric_manager": True, "display": True}, "nvidia-fabricmanager nvidia-open"),
    ],
)  # fmt: skip
def test_a_driver_has_the_names_of_its_distribution_and_source(system: str, wish: Dict[str, Any], names: str) -> None:
    assert set(names.split()) <= set(_request(system, **wish).choices[0])


def test_headers_come_for_the_wanted_kernel_and_for_the_ones_after_it() -> None:
    names = _request("debian12", kernel="6.1.0-56-cloud-amd64").choices[0]
    assert {"linux-headers-6.1.0-56-cloud-amd64", "linux-headers-cloud-amd64"} <= set(names)


def test_el_s_headers_are_those_of_the_wanted_kernel() -> None:
    exact = _request("rocky9", kernel="5.14.0-570.12.1.el9_6.x86_64").exact
    assert exact == {"kernel-devel-matched": "5.14.0-570.12.1.el9_6"}


def test_oracle_s_own_kernel_has_headers_of_its_own_name() -> None:
    request = _request("oracle9", kernel="5.15.0-300.163.18.el9uek.x86_64")
    assert request.exact == {"kernel-uek-devel": "5.15.0-300.163.18.el9uek"}
    assert "kernel-uek-devel" in request.choices[0] and "kernel-devel-matched" not in request.choices[0]


def test_precompiled_modules_are_preferred_and_dkms_is_the_way_out() -> None:
    first, second = _request("ubuntu2404", source="distribution").choices
    assert any(name.startswith("linux-modules-nvidia-") for name in first)
    assert "nvidia-dkms-580-open" in second
    assert not any(name.startswith("linux-modules-nvidia-") for name in second)


@pytest.mark.parametrize(
    ("system", "wish", "builds"),
    [
        ("ubuntu2404", {**ARCHIVE}, [False, True]),
        ("ubuntu2404", {**ARCHIVE, "fabric_manager": True, "display": True}, [False, True]),
        ("ubuntu2404", {"modules": "proprietary"}, [True]),
        ("debian12", {**ARCHIVE, "branch": "535", "modules": "proprietary"}, [True]),
        ("debian13", {**ARCHIVE, "branch": "535", "modules": "proprietary"}, [True]),
        ("debian13", {}, [True]),
        ("rocky9", {}, [True]),
    ],
)
def test_a_driver_whose_modules_are_built_is_told_from_one_that_has_them(
    system: str, wish: Dict[str, Any], builds: List[bool]
) -> None:
    choices = _request(system, **wish).choices
    assert [any(matches(name, BUILDERS) for name in names) for names in choices] == builds


@pytest.mark.parametrize(
    ("installed", "series"),
    [
        ([], "generic"),
        (["linux-image-generic"], "generic"),
        (["linux-image-generic", "linux-image-generic-hwe-24.04"], "generic-hwe-24.04"),
    ],
)  # fmt: skip
def test_a_kernel_belongs_to_the_series_that_is_installed(installed: Any, series: str) -> None:
    assert kernel_series(kernel="6.14.0-33-generic", installed=installed) == series


@pytest.mark.parametrize(
    ("wish", "gone", "kept"),
    [
        (
            {**ARCHIVE},
            "nvidia-utils-535 libnvidia-compute-535-server nvidia-dkms-580 nvidia-driver-580 nvidia-kernel-source-580"
            " linux-modules-nvidia-535-6.8.0-85-generic linux-modules-nvidia-580-6.8.0-85-generic nvidia-dkms-580-open"
            " linux-modules-nvidia-580-server-open-6.8.0-85-generic xserver-xorg-video-nvidia-535",
            "nvidia-utils-580 nvidia-kernel-common-580 nvidia-kernel-source-580-open nvidia-firmware-580-580.178.04"
            " linux-modules-nvidia-580-open-6.8.0-84-generic libnvidia-gl-580 nvidia-modprobe nvidia-settings",
        ),
        (
            {**ARCHIVE, "modules": "proprietary"},
            "nvidia-driver-580-open nvidia-kernel-source-580-open linux-modules-nvidia-580-open-6.8.0-85-generic",
            "nvidia-driver-580 linux-modules-nvidia-580-6.8.0-84-generic nvidia-kernel-source-580",
        ),
        (
            {**ARCHIVE, "fabric_manager": True},
            "nvidia-utils-580 libnvidia-compute-580 linux-modules-nvidia-580-open-6.8.0-85-generic",
            "nvidia-utils-580-server nvidia-fabricmanager-580 libnvidia-nscq-580 nvidia-kernel-source-580-server-open",
        ),
        ({}, "linux-modules-nvidia-580-open-6.8.0-85-generic nvidia-utils-535", "nvidia-utils-580"),
        ({"branch": "595"}, "nvidia-utils-580 nvidia-dkms-580-open nvidia-dkms", "nvidia-utils libnvidia-compute"),
    ],
)
def test_no_other_branch_variant_or_flavour_stays_beside_the_wanted_one(
    wish: Dict[str, Any], gone: str, kept: str
) -> None:
    absent = _request("ubuntu2404", **wish).absent
    assert [name for name in gone.split() if not matches(name, absent)] == []
    assert [name for name in kept.split() if matches(name, absent)] == []


MAIN = "libcuda1 nvidia-smi nvidia-kernel-support nvidia-alternative libnvidia-ml1 firmware-nvidia-gsp nvidia-driver"
TESLA = (
    "libnvidia-tesla-535-cuda1 nvidia-tesla-535-smi nvidia-tesla-535-alternative firmware-nvidia-tesla-535-gsp"
    " libegl-nvidia-tesla-535-0 xserver-xorg-video-nvidia-tesla-535 nvidia-settings-tesla-535"
)
SHARED = "nvidia-kernel-common nvidia-modprobe nvidia-persistenced libnvidia-egl-wayland1 nvidia-cuda-toolkit"


@pytest.mark.parametrize(
    ("branch", "gone", "kept"), [("550", TESLA, MAIN), ("535", MAIN, TESLA + " nvidia-tesla-535-opencl-icd")]
)
def test_debian_s_two_families_of_driver_packages_never_stand_beside_each_other(
    branch: str, gone: str, kept: str
) -> None:
    """Neither keeps the other away by itself: both are made to be chosen between by update-alternatives."""
    absent = _request("debian13", source="distribution", branch=branch, modules="proprietary").absent
    assert [name for name in gone.split() if not matches(name, absent)] == []
    assert [name for name in f"{kept} {SHARED}".split() if matches(name, absent)] == []


@pytest.mark.parametrize(
    ("name", "owned"),
    [
        ("nvidia-kernel-dkms", True),
        ("libcuda1", True),
        ("kmod-nvidia-open-dkms", True),
        ("firmware-nvidia-gsp", True),
        ("firmware-nvidia-tesla-535-gsp", True),
        ("libegl-nvidia-tesla-535-0", True),
        ("nvidia-cuda-toolkit", False),
        ("nvidia-container-toolkit", False),
        ("libnvidia-container1", False),
        ("nvidia-cudnn", False),
        ("libcudart12", False),
        ("dkms", False),
        ("linux-headers-amd64", False),
        ("linux-modules-nvidia-580-open-generic", False),
    ],
)
def test_a_driver_owns_its_packages_and_not_what_shares_the_name(name: str, owned: bool) -> None:
    assert matches(name, OWNED) is owned


@pytest.mark.parametrize(
    ("system", "modules", "stream"),
    [
        ("rocky9", "open", "nvidia-driver:580-open"),
        ("rocky9", "proprietary", "nvidia-driver:580-dkms"),
        ("rhel10", "open", ""),
        ("debian13", "open", ""),
    ],
)
def test_only_el_9_has_streams(system: str, modules: str, stream: str) -> None:
    assert _request(system, modules=modules).stream == stream


def test_removal_leaves_the_stream() -> None:
    assert any_driver(system=SYSTEMS["rocky9"]).stream == "nvidia-driver:"
    assert any_driver(system=SYSTEMS["rhel10"]).stream == ""


@pytest.mark.parametrize(
    ("system", "wish", "reason"),
    [
        ("rocky9", {**ARCHIVE}, "Rocky Linux 9.5 has no NVIDIA driver in its own archive"),
        ("debian12", {**ARCHIVE, "branch": "535", "fabric_manager": True}, "no fabric manager"),
        ("ubuntu2404", {"branch": "615", "modules": "proprietary"}, "open kernel modules only"),
    ],
)
def test_what_does_not_exist_is_refused_with_the_reason(system: str, wish: Dict[str, Any], reason: str) -> None:
    with pytest.raises(PackageError, match=reason):
        _request(system, **wish)
