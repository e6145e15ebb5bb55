# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the stand-in for NVIDIA's management library, and write the file it answers from.

The file's keys are described in tests/fixtures/nvml/README.md.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Mapping, Sequence, Union

SOURCE = Path(__file__).parents[1] / "fixtures" / "nvml" / "nvml_stand_in.c"

Setting = Union[str, int, float, Sequence[str]]
Section = Mapping[str, Setting]


def compiler() -> str | None:
    """The C compiler of this machine, None where there is none and tests with the stand-in have to be skipped."""
    return shutil.which("gcc") or shutil.which("cc")


def build(directory: Path, *, options: Sequence[str] = ()) -> Path:
    """Compile the stand-in into a directory and return the library's path."""
    library = directory / "libnvidia-ml.so.1"
    command = [compiler() or "gcc", "-std=c11", "-O1", "-shared", "-fPIC", f"-Wl,-soname,{library.name}"]
    subprocess.run([*command, *options, "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


@functools.lru_cache(maxsize=None)
def built() -> Path:
    """The stand-in of this process, compiled once. What it answers is read at ``nvmlInit``."""
    directory = Path(tempfile.mkdtemp(prefix="nvml-stand-in-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return build(directory)


def answering(*, machine: Section | None = None, gpus: Sequence[Section] = ()) -> str:
    """The path of the stand-in, answering so from now on."""
    configure(built(), machine={**MACHINE, **(machine or {})}, gpus=gpus)
    return str(built())


def configure(library: Path, *, machine: Section, gpus: Sequence[Section] = ()) -> Path:
    """Write what a stand-in library answers, beside it. A list value becomes one line for each of its items."""
    text = "\n".join([*_lines(machine), *(line for gpu in gpus for line in ["", "[gpu]", *_lines(gpu)])])
    configuration = library.with_name(library.name + ".conf")
    configuration.write_text(text + "\n", encoding="utf-8")
    return configuration


def _lines(section: Section) -> list[str]:
    lines = []
    for key, value in section.items():
        values = [value] if isinstance(value, (str, int, float)) else value
        lines += [f"{key} = {item}" for item in values]
    return lines


# A machine and a GPU that are well: tests say only how theirs differ.
MACHINE: Section = {"driver": "580.95.05", "nvml": "13.580.95.05", "cuda": "13.0"}

RTX_4090: Section = {
    "name": "NVIDIA GeForce RTX 4090",
    "uuid": "GPU-6d3ad9c5-1d47-0f5e-9f4e-000000000001",
    "pci": "0000:01:00.0",
    "device_id": "0x2684",
    "subsystem_id": "0x88e21043",
    "compute_capability": "8.9",
    "architecture": 8,
    "minor": 0,
    "memory_mib": 24564,
    "memory_used_mib": 800,
    "utilization": "0",
    "power_w": 31.5,
    "power_limit_w": 450,
    "temperature": 41,
    "sm_clock": 2520,
    "memory_clock": 10501,
    "throttle_reasons": "0x1",
    "pcie_generation": 4,
    "pcie_generation_max": 4,
    "pcie_width": 16,
    "pcie_width_max": 16,
    "display_attached": 0,
    "display_active": 0,
    "persistence": 1,
}
