# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name the packages of an NVIDIA driver: what each distribution, source, branch and module flavour calls them.

Pure tables. Sources: NVIDIA's Driver Installation Guide (kernel modules, package names), and the package indexes of
the Debian and Ubuntu archives as of 2026-11.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Iterable, List, Mapping, Optional, Sequence

from ansible_collections.gpulab.workstation.plugins.module_utils._packages import PackageError, Request

# What is part of a driver wherever it comes from. What follows a "!" only shares the name.
OWNED = (
    "nvidia-*", "libnvidia-*", "libcuda1*", "libcudadebugger1*", "libnvcuvid1", "libnvoptix1", "libgl*-nvidia-*",
    "libegl-nvidia*", "cuda-drivers*", "firmware-nvidia-*gsp", "xserver-xorg-video-nvidia*", "kmod-nvidia*",
    "!nvidia-cuda-*", "!nvidia-cudnn*", "!nvidia-container-*", "!libnvidia-container*", "!nvidia-docker*",
    "!nvidia-detect", "!nvidia-driver-assistant", "!nvidia-support", "!nvidia-installer-cleanup", "!nvidia-prime*",
    "!nvidia-visual-profiler", "!nvidia-profiler", "!nvidia-opencl-dev", "!libnvidia-ml-dev",
    "!nvidia-openjdk-*", "!nvidia-gds*", "!nvidia-fs*",
)  # fmt: skip

# Ubuntu's precompiled modules are versioned with the kernel, and have to come along when it is upgraded.
FOLLOWS_KERNEL = ("linux-modules-nvidia-*", "linux-objects-nvidia-*", "linux-signatures-nvidia-*")

# The packages that tell the version of a driver, in whatever way it was installed.
ANCHORS = (
    "nvidia-kernel-dkms", "nvidia-open-kernel-dkms", "nvidia-kernel-open-dkms", "nvidia-tesla-*-kernel-dkms",
    "nvidia-utils-*", "libnvidia-compute*", "kmod-nvidia-*", "nvidia-driver-cuda",
)  # fmt: skip

# The packages that have DKMS build the modules. Ubuntu's headless ones say of themselves that they do not.
BUILDERS = ("*dkms*", "!*-no-dkms-*")

# Names the files that pin and hold the driver.
SET_NAME = "nvidia-driver"
# The dnf module in NVIDIA's repository for EL 9; EL 10 has none.
STREAM_MODULE = "nvidia-driver"

# Branches that Debian packages under their plain names; another one has names with "tesla" and the branch.
DEBIAN_MAIN_BRANCH = {"12": "535", "13": "550"}
# What serves both has no tesla in its name.
DEBIAN_SHARED = (
    "nvidia-*-common", "nvidia-modprobe", "nvidia-persistenced", "nvidia-settings", "nvidia-xconfig", "libnvidia-egl-*",
)  # fmt: skip

# NVIDIA's Ubuntu packages carry the branch in their names up to this branch, and none since.
LAST_BRANCH_IN_NAMES = 580
# NVIDIA's packages of the fabric manager lost a hyphen with this branch.
FIRST_UNHYPHENATED_FABRIC_MANAGER = 580
# From this branch on there are open kernel modules only.
FIRST_OPEN_ONLY = 615


@dataclass(frozen=True)
class Wish:
    """The driver that is asked for.

    Attributes:
        source: "distribution" or "nvidia".
        branch: "580".
        modules: "open" or "proprietary".
        kernel: Release of the kernel that the modules are for.
        version: Exact version, or nothing for any of the branch.
        precompiled: Take modules that the distribution has compiled and signed, where there are any.
        display: With what a desktop needs: OpenGL, Vulkan, Xorg.
        fabric_manager: With the NVSwitch fabric manager.
        extra: More packages, of the driver's version where they have it.
        reselect: Replace a driver that fits when no source offers it.
    """

    source: str
    branch: str
    modules: str
    kernel: str
    version: str = ""
    precompiled: bool = True
    display: bool = False
    fabric_manager: bool = False
    extra: Sequence[str] = ()
    reselect: bool = False


def driver_request(*, system: Mapping[str, Any], wish: Wish, installed: Iterable[str] = ()) -> Request:
    """Return the packages of ``wish`` on ``system`` (id, name, version, family as ``_system`` reads them).

    Args:
        system: The machine.
        wish: The driver.
        installed: Names of installed packages: they tell which series of kernels the machine follows.

    Raises:
        PackageError: There is no such driver for this system.
    """
    if wish.modules == "proprietary" and int(wish.branch) >= FIRST_OPEN_ONLY:
        raise PackageError(f"Driver {wish.branch} has open kernel modules only, like all from {FIRST_OPEN_ONLY} on.")
    if wish.source == "distribution":
        if system["id"] == "debian":
            return _debian_archive(system, wish)
        if system["id"] == "ubuntu":
            return _ubuntu_archive(wish, installed)
        raise PackageError(f"{system['name']} has no NVIDIA driver in its own archive; set the source to nvidia.")
    if system["family"] == "redhat":
        return _nvidia_redhat(system, wish)
    if system["id"] == "debian":
        return _nvidia_debian(wish)
    return _nvidia_ubuntu(wish)


def any_driver(*, system: Mapping[str, Any]) -> Request:
    """Return the request that stands for whatever driver there is, for its removal or its return."""
    return Request(
        name=SET_NAME,
        choices=[],
        owned=OWNED,
        follows=FOLLOWS_KERNEL,
        anchor=ANCHORS,
        stream=f"{STREAM_MODULE}:" if _has_streams(system) else "",
    )


def kernel_series(*, kernel: str, installed: Iterable[str]) -> str:
    """Return the series an Ubuntu kernel belongs to: "generic", "generic-hwe-24.04", "aws".

    The release of a kernel names only its flavour; which series it is from is told by the installed meta package.
    """
    flavour = re.sub(r"^[\d.]+-\d+-", "", kernel)
    series = re.compile(rf"linux-image-({re.escape(flavour)}(?:-hwe-[\d.]+)?)$")
    found = sorted(hit.group(1) for hit in map(series.match, installed) if hit)
    return found[-1] if found else flavour


def _has_streams(system: Mapping[str, Any]) -> bool:
    return system["family"] == "redhat" and int(system["version"].split(".")[0]) < 10


def _request(
    wish: Wish,
    *,
    choices: Sequence[Sequence[str]],
    anchor: str,
    absent: Sequence[str],
    stream: str = "",
    exact: Optional[Mapping[str, str]] = None,
) -> Request:
    return Request(
        name=SET_NAME,
        choices=[[*names, *wish.extra] for names in choices],
        owned=OWNED,
        follows=FOLLOWS_KERNEL,
        anchor=(anchor,),
        release=wish.version or wish.branch,
        absent=absent,
        stream=stream,
        reselect=wish.reselect,
        exact=exact or {},
    )


def _debian_archive(system: Mapping[str, Any], wish: Wish) -> Request:
    if wish.fabric_manager:
        raise PackageError("Debian's archive has no fabric manager; take the driver from NVIDIA's repository.")
    tesla = f"tesla-{wish.branch}-" if wish.branch != DEBIAN_MAIN_BRANCH.get(system["version"]) else ""
    flavours = {"open": "nvidia-open-kernel-dkms", "proprietary": f"nvidia-{tesla}kernel-dkms"}
    anchor = flavours.pop(wish.modules)
    library = f"libnvidia-{tesla}"
    names = [anchor, f"nvidia-{tesla}smi", f"{library}cuda1" if tesla else "libcuda1"]
    names += [f"{library}ptxjitcompiler1", f"{library}cfg1", f"{library}ml1", "nvidia-persistenced", "nvidia-modprobe"]
    if wish.display:
        names.append(f"nvidia-{tesla}driver")
    # NVIDIA's repository and the archive share names, but for these.
    absent = [*flavours.values(), "nvidia-kernel-open-dkms", "nvidia-driver-cuda", "nvidia-driver-pinning-*"]
    absent.append("*nvidia-*tesla-*")
    if tesla:
        absent = [*OWNED, *(f"!{name}" for name in (*DEBIAN_SHARED, f"*-tesla-{wish.branch}*", *names, *wish.extra))]
    return _request(wish, choices=[[*names, *_debian_headers(wish.kernel)]], anchor=anchor, absent=absent)


def _debian_headers(kernel: str) -> List[str]:
    """Return the headers of ``kernel``, and the meta package that brings those of the next one."""
    flavour = re.search(r"[-+](?:bpo-|deb\d+-)?((?:cloud-|rt-)?(?:amd64|arm64))$", kernel)
    return [f"linux-headers-{kernel}"] + ([f"linux-headers-{flavour.group(1)}"] if flavour else [])


def _ubuntu_archive(wish: Wish, installed: Iterable[str]) -> Request:
    # Only the server variant has a fabric manager of the very same version.
    branch = wish.branch + ("-server" if wish.fabric_manager else "")
    flavour = _suffix(wish)
    names = [f"nvidia-utils-{branch}", f"libnvidia-compute-{branch}", f"nvidia-compute-utils-{branch}"]
    names += [f"nvidia-headless-no-dkms-{branch}{flavour}", "nvidia-modprobe"]
    if wish.display:
        names.append(f"nvidia-driver-{branch}{flavour}")
    if wish.fabric_manager:
        names.append(f"nvidia-fabricmanager-{wish.branch}")
    series = kernel_series(kernel=wish.kernel, installed=installed)
    precompiled = [f"linux-modules-nvidia-{branch}{flavour}-{kernel}" for kernel in (wish.kernel, series)]
    dkms = [f"nvidia-dkms-{branch}{flavour}", f"linux-headers-{wish.kernel}"]
    return _request(
        wish,
        choices=[*([[*names, *precompiled]] if wish.precompiled else []), [*names, *dkms]],
        anchor=names[0],
        absent=_other_than(branch, flavour, precompiled=wish.precompiled),
    )


def _nvidia_ubuntu(wish: Wish) -> Request:
    flavour = _suffix(wish)
    named = int(wish.branch) <= LAST_BRANCH_IN_NAMES
    branch = f"-{wish.branch}" if named else ""
    anchor = f"libnvidia-compute{branch}"
    names = [anchor, f"nvidia-dkms{branch}{flavour}", "nvidia-modprobe", f"linux-headers-{wish.kernel}"]
    names += [f"nvidia-utils{branch}", f"nvidia-compute-utils{branch}"] if named else ["nvidia-persistenced"]
    if wish.display:
        names.append(f"nvidia-open{branch}" if flavour else f"cuda-drivers{branch}")
    if wish.fabric_manager:
        names.append(f"nvidia-fabricmanager{branch}")
    absent = _other_than(wish.branch, flavour, precompiled=False)
    if not named:
        other_flavour = "nvidia-dkms" if flavour else "nvidia-dkms-open"
        absent = ["*nvidia-*-[0-9][0-9][0-9]*", "linux-modules-nvidia-*", other_flavour]
    return _request(wish, choices=[names], anchor=anchor, absent=absent)


def _other_than(branch: str, flavour: str, *, precompiled: bool) -> List[str]:
    """Return globs of the Ubuntu packages that carry another branch, variant or flavour in their names."""
    number = branch.split("-")[0]
    globs = ["*nvidia-*-[0-9][0-9][0-9]*", "xserver-xorg-video-nvidia-[0-9]*", "linux-modules-nvidia-*"]
    globs += [f"!*nvidia-*-{branch}", f"!xserver-xorg-video-nvidia-{branch}", f"!nvidia-firmware-{branch}-*"]
    globs += [f"!{name}-{number}" for name in ("nvidia-fabricmanager", "nvidia-imex", "libnvidia-nscq")]
    if flavour:
        globs.append(f"!*nvidia-*-{branch}{flavour}")
        globs += [f"nvidia-{part}-{branch}" for part in ("driver", "headless", "headless-no-dkms", "kernel-source")]
    globs.append(f"nvidia-dkms-{branch}*")
    if precompiled:
        globs.append(f"!linux-modules-nvidia-{branch}{flavour}-*")
        others = [other for other in ("-open", "-server") if other not in branch + flavour]
        globs += [f"linux-modules-nvidia-{branch}{other}-*" for other in others]
    return globs


def _nvidia_debian(wish: Wish) -> Request:
    flavours = {"open": "nvidia-kernel-open-dkms", "proprietary": "nvidia-kernel-dkms"}
    anchor = flavours.pop(wish.modules)
    names = [anchor, "nvidia-driver-cuda", "nvidia-persistenced", "nvidia-modprobe", *_debian_headers(wish.kernel)]
    archive = ["nvidia-open-kernel-dkms", "*nvidia-*tesla-*"]
    return _request(wish, choices=[[*names, *_extras(wish)]], anchor=anchor, absent=[*flavours.values(), *archive])


def _nvidia_redhat(system: Mapping[str, Any], wish: Wish) -> Request:
    flavours = {"open": "kmod-nvidia-open-dkms", "proprietary": "kmod-nvidia-latest-dkms"}
    anchor = flavours.pop(wish.modules)
    names = [anchor, "nvidia-driver-cuda", "nvidia-persistenced", "nvidia-modprobe"]
    # Oracle's own kernel has its headers in a package of its own.
    headers = "kernel-uek-devel" if "uek" in wish.kernel else "kernel-devel-matched"
    names += [headers, "kernel-headers"]
    stream = f"{STREAM_MODULE}:{wish.branch}-{'open' if wish.modules == 'open' else 'dkms'}"
    return _request(
        wish,
        choices=[[*names, *_extras(wish)]],
        anchor=anchor,
        absent=list(flavours.values()),
        stream=stream if _has_streams(system) else "",
        # The newest headers would bring the newest kernel along, and the one that runs would have no module.
        exact={headers: re.sub(r"\.(x86_64|aarch64)$", "", wish.kernel)},
    )


def _extras(wish: Wish) -> List[str]:
    """Return what Debian's and EL's packages of NVIDIA's repository call the optional parts."""
    hyphen = "" if int(wish.branch) >= FIRST_UNHYPHENATED_FABRIC_MANAGER else "-"
    display = ["nvidia-open" if wish.modules == "open" else "cuda-drivers"] if wish.display else []
    return display + ([f"nvidia-fabric{hyphen}manager"] if wish.fabric_manager else [])


def _suffix(wish: Wish) -> str:
    return "-open" if wish.modules == "open" else ""
