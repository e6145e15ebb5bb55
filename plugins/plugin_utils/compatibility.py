# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The data of compat/*.yml as typed records, read once a process.

What is null or missing in the data is None here and means "not known": no rule may treat it as a fact.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml

FOLDER = Path(__file__).parent / "compat"

Version = tuple[int, ...]
Record = TypeVar("Record")


@lru_cache(maxsize=4096)
def version_key(text: str) -> Version:
    """Return the numbers of a version: '2.15.0.post1' is newer than '2.15.0', '570.26' older than '570.124'."""
    return tuple(int(number) for number in re.findall(r"\d+", text))


def matches(version: str, pin: str) -> bool:
    """Tell whether a version is the pinned one or one of its patch releases: '2.20' takes '2.20.0', not '2.2'."""
    wanted = version_key(pin)
    return version_key(version)[: len(wanted)] == wanted


def end_of(day: str) -> date:
    """Return the last day that '2028-06' or '2028-06-30' covers."""
    year, month, *rest = (int(part) for part in day.split("-"))
    if rest:
        return date(year, month, rest[0])
    return date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)


@dataclass(frozen=True)
class Code:
    """The GPU code in a build: machine code by capability, and PTX, which a driver compiles for later GPUs."""

    machine: tuple[Version, ...]
    ptx: Version | None

    def runs_natively_on(self, capability: Version) -> bool:
        """Machine code runs on its own major generation, at its own minor or a later one."""
        return any(built[0] == capability[0] and built[1] <= capability[1] for built in self.machine)

    def can_be_compiled_for(self, capability: Version) -> bool:
        return self.ptx is not None and self.ptx <= capability


@dataclass(frozen=True)
class Release:
    """A TensorFlow release from one origin; the fields are explained at the head of compat/tensorflow_pip.yml."""

    version: str
    origin: str
    python: tuple[str, ...]
    glibc: str
    cuda: str
    cudnn: str
    code: Code
    cuda_extra: str | None = None
    cuda_extra_python: tuple[str, ...] | None = None
    finds_libraries: bool | None = None
    aarch64: str = "none"
    locked: bool = False
    constraints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Architecture:
    """A GPU architecture; ``rank`` orders them by age."""

    name: str
    rank: int
    capabilities: tuple[str, ...]
    modules: str
    first_branch: str | None = None
    last_branch: str | None = None
    legacy: bool = False
    pip_wheels_fail_to: str | None = None


@dataclass(frozen=True)
class Branch:
    """A driver branch; ``first`` and ``last`` are the ranks of the architectures between which it drives every GPU."""

    branch: str
    kind: str
    latest: str | None
    eol: str | None
    cuda: str
    modules: tuple[str, ...]
    first: int
    last: int
    kernel: str | None = None


@dataclass(frozen=True)
class Toolkit:
    """A CUDA toolkit; ``gcc`` is the newest host compiler that it accepts, ``lacks`` is within its range."""

    version: str
    driver: str
    driver_min: str
    capability_min: str
    capability_max: str
    gcc: str | None
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cudnn:
    """A cuDNN release; ``wheels`` and ``driver_min`` are by CUDA major."""

    version: str
    wheels: dict[str, str]
    capability_min: str
    capability_max: str
    driver_min: dict[str, str]


@dataclass(frozen=True)
class Conda:
    distribution: str
    version: str
    architectures: tuple[str, ...]
    glibc: str
    checksum: str


@dataclass(frozen=True)
class System:
    """An operating system; ``archive`` maps a driver branch to its version and kernel modules in the distribution."""

    name: str
    ids: tuple[str, ...]
    version: str
    supported: bool
    eol: str
    glibc: str
    python: str
    eol_lts: str | None = None
    gcc: str | None = None
    kernel: str | None = None
    nvidia_repo: str | None = None
    archive: dict[str, dict[str, Any]] = field(default_factory=dict)
    transitional: dict[str, str] = field(default_factory=dict)
    precompiled: bool = False
    archive_cuda: str | None = None
    reason: str = ""
    way_out: str = ""


@dataclass(frozen=True)
class Compat:
    """All of it. TensorFlow, toolkits, cuDNN and conda are newest first: the order in which ``auto`` tries them."""

    as_of: str
    pip: tuple[Release, ...]
    conda_forge: tuple[Release, ...]
    architectures: dict[str, Architecture]
    device_branches: dict[str, str]
    branches: dict[str, Branch]
    nvidia_branches: dict[str, tuple[str, ...]]
    nvidia_architectures: tuple[str, ...]
    toolkits: tuple[Toolkit, ...]
    cudnn: tuple[Cudnn, ...]
    conda: tuple[Conda, ...]
    systems: tuple[System, ...]
    python_eol: dict[str, str]


def read(name: str, *, folder: Path = FOLDER) -> Any:
    """Return one data file as it stands; by libyaml where PyYAML has it, which is ten times as fast."""
    with (folder / f"{name}.yml").open("rb") as file:
        return yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@lru_cache(maxsize=1)
def load() -> Compat:
    """Return the data, parsed on the first call of the process."""
    pip = read("tensorflow_pip")
    repository = read("nvidia_repository")
    architectures = {
        entry["name"]: _record(Architecture, entry, rank=rank) for rank, entry in enumerate(read("architectures"))
    }
    return Compat(
        as_of=max(entry["checked"] for entry in pip),
        pip=tuple(_record(Release, entry, origin="pip", code=parse_code(entry["code"])) for entry in pip),
        conda_forge=tuple(
            # conda solves, pins and checks by itself, and its packages carry their own library paths.
            _record(
                Release, entry, origin="conda-forge", code=parse_code(entry["code"]), locked=True, finds_libraries=True
            )
            for entry in read("tensorflow_conda")
        ),
        architectures=architectures,
        device_branches={
            device: entry["first_branch"] for entry in read("gpu_exceptions") for device in entry["device_ids"]
        },
        branches={
            entry["branch"]: _record(
                Branch,
                entry,
                first=architectures[entry["architectures"][0]].rank,
                last=architectures[entry["architectures"][1]].rank,
            )
            for entry in read("driver_branches")
        },
        nvidia_branches={entry["branch"]: tuple(entry["modules"]) for entry in repository["branches"]},
        nvidia_architectures=tuple(repository["architectures"]),
        toolkits=tuple(_record(Toolkit, entry) for entry in read("cuda")),
        cudnn=tuple(_record(Cudnn, entry) for entry in read("cudnn")),
        conda=tuple(_record(Conda, entry) for entry in read("conda")),
        systems=tuple(_record(System, entry) for entry in read("operating_systems")),
        python_eol={entry["version"]: entry["eol"] for entry in read("python")},
    )


def parse_code(names: list[str]) -> Code:
    """Read ['sm_60', 'compute_90'] as capabilities: the last digit is the minor."""
    parsed = [
        (kind, (int(digits[:-1]), int(digits[-1]))) for kind, _mark, digits in (name.partition("_") for name in names)
    ]
    return Code(
        machine=tuple(capability for kind, capability in parsed if kind == "sm"),
        ptx=max((capability for kind, capability in parsed if kind == "compute"), default=None),
    )


def _record(cls: type[Record], entry: dict[str, Any], **derived: Any) -> Record:
    """Fill a record from the entry's keys of the same names; the rest of an entry (source, notes) is for readers."""
    names = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items() if key in names}
    return cls(**{**values, **derived})
