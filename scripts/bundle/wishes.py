# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles would take on a machine of a system: said by the roles' own variables, in their own words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.gpulab.workstation.plugins.module_utils import _nvidia_repository as nvidia
from ansible_collections.gpulab.workstation.plugins.module_utils._driver_catalogue import Wish, driver_request
from ansible_collections.gpulab.workstation.plugins.module_utils._packages import PackageError, Request

from bundle.systems import System

# The inputs of a role that say where NVIDIA's repository is.
_PLACE = {"mirror": "mirror", "key": "key", "fingerprint": "key_fingerprint"}

ROLES = Path(__file__).resolve().parents[2] / "roles"


@dataclass(frozen=True)
class Role:
    """A role on a machine of ``system`` where the inventory sets the inputs ``given``."""

    name: str
    system: System
    given: Mapping[str, Any]

    def __call__(self, expression: str, **known: Any) -> Any:
        """Return what an expression over the role's variables comes to, where the machine is known to be so."""
        loader, folder = DataLoader(), ROLES / self.name
        variables: dict[str, Any] = {}
        for path in ("defaults/main.yml", "vars/main.yml", "vars/Debian.yml"):
            if (folder / path).exists():
                variables.update(loader.load_from_file(str(folder / path), trusted_as_template=True) or {})
        variables.update(self.given, role_path=str(folder), **known)
        return Templar(loader, variables=variables).template(trust_as_template(f"{{{{ {expression} }}}}"))


def packages(component: str, system: System, given: Mapping[str, Any], kernels: Iterable[str]) -> Iterator[Request]:
    """The sets of packages that a component's role brings, on each of the kernels."""
    role = Role(component, system, given)
    if component == "os_prep":
        base = role("__os_prep_base_packages + os_prep_packages", os_prep_python=f"/usr/bin/python{system.python}")
        headers = [role("__os_prep_headers_package", ansible_facts={"kernel": kernel}) for kernel in kernels]
        # The last one is what Ansible's own module for apt needs.
        yield _set("os-prep", [*base, *role("__os_prep_time_packages"), *headers, "python3-apt"])
    elif component == "nvidia_driver":
        for kernel in kernels:
            yield driver_request(system=system.facts, wish=_driver(role, kernel))
    elif component == "cuda":
        if role("__cuda_own_folder") and not role("cuda_version"):
            raise PackageError("NVIDIA's repository has many toolkits: name one, as in -e cuda_version=12.8.")
        for one in role("__cuda_sets"):
            yield _set(one["name"], one["packages"], owned=one["owned"], release=one["release"])
    elif component == "cudnn" and role("cudnn_source") == "wheel":
        yield _set("cudnn-tools", role("__cudnn_tools"))
    elif component == "cudnn":
        names = role("__cudnn_packages + __cudnn_compiler")
        yield _set("cudnn", names, owned=["libcudnn*"], release=role("cudnn_version"))


def repository(component: str, system: System, given: Mapping[str, Any]) -> nvidia.Repository | None:
    """NVIDIA's repository, where a component's role takes its packages from there."""
    role = Role(component, system, given)
    if component not in ("nvidia_driver", "cuda", "cudnn") or role(f"{component}_source") != "nvidia":
        return None
    place = {name: role(f"{component}_{suffix}") for name, suffix in _PLACE.items()}
    return nvidia.repository(system=system.facts, **place)


def _driver(role: Role, kernel: str) -> Wish:
    named = ("source", "branch", "version", "modules", "precompiled", "fabric_manager")
    inputs = {name: role(f"nvidia_driver_{name}") for name in named}
    # Some of the machines may have a display.
    return Wish(**inputs, kernel=kernel, display=True, extra=role("nvidia_driver_extra_packages"))


def _set(name: str, names: Iterable[str], *, owned: Iterable[str] = (), release: str = "") -> Request:
    """The set as the module package_set makes it."""
    names = list(names)
    return Request(name=name, choices=[names], owned=list(owned), anchor=names[:1], release=release)


def wheels(component: str, system: System, given: Mapping[str, Any]) -> Iterator[str]:
    """The locks of the wheels that a component's role brings, as text."""
    role = Role(component, system, given)
    if component == "tensorflow" and role("tensorflow_source") == "pip":
        yield Path(role("__tensorflow_lock")).read_text()
        yield (ROLES / "tensorflow/files/locks/uv.txt").read_text()
    elif component == "cudnn" and role("cudnn_source") == "wheel":
        known = {"__cudnn_stack": {"system": system.facts}}
        if not role("__cudnn_digest", **known):
            raise PackageError(f"The role cudnn knows no digest of {role('__cudnn_wheel')} {role('cudnn_version')}.")
        yield role("__cudnn_requirement", **known)


def python(components: Iterable[str], system: System, given: Mapping[str, Any]) -> str:
    """The version of Python that the wheels are for: conda brings its own."""
    conda = Role("tensorflow", system, given)("tensorflow_python_version")
    return conda if "anaconda" in components else system.python


def downloads(component: str, system: System, given: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """The files that a component's role fetches by their SHA-256: folder, address, digest."""
    role = Role(component, system, given)
    if component == "anaconda":
        known = {"__anaconda_machine": {"system": system.facts}}
        yield "installers", role("__anaconda_location", **known), role("__anaconda_sha256", **known)
    elif component == "cifar10":
        yield "images", role("cifar10_dataset_url"), role("cifar10_dataset_sha256")
