# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the resolver reasons about: a machine as it was found, what was asked for, and the choices in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils import role_inputs
from ansible_collections.gpulab.workstation.plugins.plugin_utils.compatibility import (
    Architecture,
    Branch,
    Compat,
    Release,
    System,
    Version,
    matches,
    version_key,
)

# Inputs that may be pinned, and with which the rest must go together.
PINS = (
    "tensorflow_version",
    "tensorflow_build",
    "tensorflow_source",
    "tensorflow_env_manager",
    "tensorflow_python_version",
    "tensorflow_python",
    "nvidia_driver_branch",
    "nvidia_driver_version",
    "nvidia_driver_modules",
    "nvidia_driver_source",
    "cuda_version",
    "cuda_source",
    "cudnn_version",
    "cudnn_cuda_major",
    "cudnn_source",
    "anaconda_distribution",
    "anaconda_version",
)
# Inputs that the plan decides and that an inventory may decide instead, without a bearing on anything else.
SETTINGS = (
    "os_prep_kernel_headers",
    "os_prep_python",
    "nvidia_driver_fabric_manager",
    "tensorflow_constraints",
    "tensorflow_library_path",
    "tensorflow_conda_prefix",
    "cifar10_gpus",
    "cifar10_python",
)
# Where one role puts what another one uses.
PLACES = ("anaconda_prefix", "tensorflow_prefix")
STATES = ("nvidia_driver_state", "cuda_state", "cudnn_state")
CHOICES = {
    "tensorflow_build": ("cpu", "cuda"),
    "tensorflow_source": ("pip", "conda-forge"),
    "tensorflow_env_manager": ("conda", "venv"),
    "nvidia_driver_modules": ("open", "proprietary"),
    "nvidia_driver_source": ("distribution", "nvidia"),
    "cuda_source": ("distribution", "nvidia"),
    "cudnn_source": ("wheel", "nvidia"),
    "anaconda_distribution": ("miniforge", "miniconda", "anaconda"),
}


class Refused(Exception):
    """No stack fits. ``conflict`` names what cannot go together."""

    def __init__(self, message: str, *, conflict: tuple[str, ...], rejected: tuple[dict[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.conflict = conflict
        self.rejected = rejected


@dataclass(frozen=True)
class Objection:
    """Why a choice cannot work: the two things that do not go together, and a sentence."""

    pair: tuple[str, str]
    text: str


@dataclass(frozen=True)
class Gpu:
    name: str
    device_id: str
    architecture: Architecture | None
    capabilities: tuple[Version, ...]
    modules: str
    last_branch: str | None
    first_branch: str | None

    @property
    def label(self) -> str:
        """Its name, with what a rule looks at: 'GeForce RTX 4090 (ada, 8.9)'."""
        known = self.architecture.name if self.architecture else "architecture unknown"
        capability = f", {dotted(self.capabilities[0])}" if len(self.capabilities) == 1 else ""
        return f"{self.name} ({known}{capability})"


@dataclass(frozen=True)
class Interpreter:
    path: str
    version: str

    @property
    def minor(self) -> str:
        return dotted(version_key(self.version)[:2])


@dataclass(frozen=True)
class Machine:
    """``driver`` is the version of a driver that works; one that is ``driver_from_host`` is not ours to change."""

    system: System
    architecture: str
    glibc: str
    gcc: str | None
    kernel: str
    pythons: tuple[Interpreter, ...]
    gpus: tuple[Gpu, ...]
    driver: str | None
    driver_cuda: str | None
    driver_modules: str | None
    driver_packaged: bool
    driver_from_host: bool
    secure_boot: bool
    nvswitches: int
    wsl: bool

    @property
    def modern(self) -> tuple[Gpu, ...]:
        """The GPUs that current drivers and TensorFlow know."""
        return tuple(gpu for gpu in self.gpus if not gpu.architecture or not gpu.architecture.legacy)


@dataclass(frozen=True)
class Request:
    """The pins, as text, and the settings, as they are; what is not in here is ``auto``. Every place has a path."""

    pins: Mapping[str, str]
    states: Mapping[str, str]
    settings: Mapping[str, Any]
    places: Mapping[str, str]

    def pin(self, name: str) -> str | None:
        return self.pins.get(name)

    def wants(self, component: str) -> bool:
        """A component that is only installed on request: any pin asks for it, and its state has the last word."""
        state = self.states.get(f"{component}_state")
        if state:
            return state == "present"
        return any(name.startswith(f"{component}_") for name in self.pins)

    @property
    def env_manager(self) -> str:
        return self.pins.get("tensorflow_env_manager", "conda")


@dataclass(frozen=True)
class TensorFlow:
    """A candidate: one release in one build."""

    release: Release
    build: str

    @property
    def label(self) -> str:
        return f"TensorFlow {self.release.version} from {self.release.origin}"


@dataclass(frozen=True)
class Driver:
    """A candidate. ``version`` is exact where known, ``pinned`` if asked for; one that is ``kept`` works already."""

    branch: Branch
    source: str
    modules: str
    version: str | None
    pinned: bool = False
    kept: bool = False

    @property
    def label(self) -> str:
        origin = "already working" if self.kept else f"from {ORIGINS[self.source]}"
        return f"driver {self.version if self.pinned or self.kept else self.branch.branch}-{self.modules} {origin}"

    @property
    def newest(self) -> Version:
        """The version to compare with a floor."""
        return version_key(self.version or self.branch.latest or self.branch.branch)


ORIGINS = {"distribution": "the distribution", "nvidia": "NVIDIA's repository"}


def dotted(version: Version) -> str:
    return ".".join(str(number) for number in version)


def read_machine(*, gpu: Mapping[str, Any], system: Mapping[str, Any], compat: Compat) -> Machine:
    """Return the machine that gpu_info and stack_info describe; a system that is not supported is refused."""
    known = find_system(system, compat=compat)
    driver = gpu.get("driver") or {}
    platform = gpu.get("platform") or {}
    loaded, library = driver.get("loaded"), driver.get("library")
    works = loaded is not None and _branch_of(loaded) == _branch_of(library or loaded)
    return Machine(
        system=known,
        architecture=system.get("architecture") or "x86_64",
        glibc=system.get("glibc") or known.glibc,
        gcc=system.get("gcc") or known.gcc,
        kernel=system.get("kernel") or known.kernel or "",
        pythons=tuple(
            Interpreter(path=python["path"], version=python["version"]) for python in system.get("pythons") or ()
        ),
        gpus=tuple(
            _read_gpu(entry, compat=compat)
            for entry in gpu.get("gpus") or ()
            if entry.get("state") != "passed_through"  # its driver belongs into the guest
        ),
        driver=loaded if works else None,
        driver_cuda=driver.get("cuda"),
        driver_modules=driver.get("modules"),
        driver_packaged=bool(driver.get("package")),
        driver_from_host=bool(
            platform.get("wsl") or (platform.get("container") and works and not driver.get("package"))
        ),
        secure_boot=gpu.get("secure_boot") == "enabled",
        nvswitches=gpu.get("nvswitches") or 0,
        wsl=bool(platform.get("wsl")),
    )


def find_system(system: Mapping[str, Any], *, compat: Compat) -> System:
    """Return the data of this operating system, or refuse one that is not supported."""
    known = know_system(system, compat=compat)
    if known and known.supported:
        return known
    name = system.get("name") or f"{system.get('id', '')} {system.get('version', '')}".strip() or "This system"
    if known:
        why = f"{known.reason}. The way out is {known.way_out}"
    else:
        why = f"there are no facts about it. Supported are {', '.join(s.name for s in compat.systems if s.supported)}"
    raise Refused(f"{name} is not supported: {why}.", conflict=(name, "gpulab.workstation"))


def know_system(system: Mapping[str, Any], *, compat: Compat) -> System | None:
    """Find a system by its id and as much of its version as counts: 12 for Debian 12.4, 24.04 for Ubuntu."""
    identity, version = system.get("id"), str(system.get("version") or "")
    return next((known for known in compat.systems if identity in known.ids and matches(version, known.version)), None)


def read_request(inputs: Mapping[str, Any]) -> Request:
    """Return what the inventory pins. Empty, null and 'auto' leave the choice to the resolver."""
    pins: dict[str, str] = {}
    for name in PINS:
        value = inputs.get(name)
        if not is_set(value):
            continue
        if isinstance(value, float):
            raise Refused(
                f"{name} is the number {value}, and YAML reads 2.20 as 2.2: put the version in quotes.",
                conflict=(name, str(value)),
            )
        pins[name] = str(value)
        if pins[name] not in CHOICES.get(name, (pins[name],)):
            raise Refused(
                f"{name} is {pins[name]}; it can be auto, {' or '.join(CHOICES[name])}.", conflict=(name, pins[name])
            )
    states = {name: str(inputs[name]) for name in STATES if inputs.get(name) in ("present", "absent")}
    settings = {name: inputs[name] for name in SETTINGS if is_set(inputs.get(name))}
    given = {name: inputs[name] for name in PLACES if is_set(inputs.get(name))}
    places = {name: str({**role_inputs.defaults(name.partition("_")[0]), **given}[name]) for name in PLACES}
    return Request(pins=pins, states=states, settings=settings, places=places)


def is_set(value: Any) -> bool:
    """Tell whether the inventory decides: empty, null and 'auto' do not, false does."""
    return value is not None and value not in ("", "auto", [])


def gpu_name(entry: Mapping[str, Any]) -> str:
    return str(entry.get("name") or f"GPU {entry.get('pci_address') or entry.get('device_id')}").removeprefix("NVIDIA ")


def _branch_of(version: str) -> str:
    return version.split(".")[0]


def _read_gpu(entry: Mapping[str, Any], *, compat: Compat) -> Gpu:
    architecture = compat.architectures.get(entry.get("architecture") or "")
    capability = entry.get("compute_capability")
    # Placed by its range alone: whatever the architecture has must be served.
    capabilities = (capability,) if capability else architecture.capabilities if architecture else ()
    device = (entry.get("device_id") or "").lower()
    return Gpu(
        name=gpu_name(entry),
        device_id=device,
        architecture=architecture,
        capabilities=tuple(version_key(capability) for capability in capabilities),
        # An unknown device is newer than the tables, and the newer ones need the open modules.
        modules=entry.get("kernel_modules") or (architecture.modules if architecture else "open"),
        last_branch=entry.get("last_branch") or (architecture.last_branch if architecture else None),
        first_branch=compat.device_branches.get(device) or (architecture.first_branch if architecture else None),
    )
