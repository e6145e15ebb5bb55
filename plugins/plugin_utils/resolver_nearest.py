# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would work, where nothing does: small changes of request or machine, each resolved before it is offered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, combinations, islice, product
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils.compatibility import Compat
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_model import (
    Refused,
    gpu_name,
    is_set,
    know_system,
)

# More would be a list to search, not an advice.
OFFERS = 3
# What is asked for by several inputs is given up as one; what a person gives up most easily comes first.
GROUPS = {
    "the lock": ("stack_lock",),
    "cuDNN": ("cudnn_version", "cudnn_cuda_major", "cudnn_source", "cudnn_state"),
    "CUDA": ("cuda_version", "cuda_source", "cuda_state"),
    "conda": ("anaconda_distribution", "anaconda_version"),
    "the driver's source": ("nvidia_driver_source",),
    "the kernel modules": ("nvidia_driver_modules",),
    "the driver": ("nvidia_driver_branch", "nvidia_driver_version", "nvidia_driver_state"),
    "the environment manager": ("tensorflow_env_manager",),
    "Python": ("tensorflow_python", "tensorflow_python_version"),
    "TensorFlow's source": ("tensorflow_source",),
    "the TensorFlow build": ("tensorflow_build",),
    "TensorFlow": ("tensorflow_version",),
}
TENSORFLOW_GROUPS = {"the environment manager", "Python", "TensorFlow's source", "the TensorFlow build", "TensorFlow"}

Inputs = Mapping[str, Any]
Machine = Mapping[str, Any]
Resolve = Callable[[Machine, Machine, Inputs], dict[str, Any]]


@dataclass(frozen=True)
class Variation:
    """A change to try: ``given_up`` names the pins that go, ``machine`` what would be different, ``note`` says so."""

    gpu: Machine
    system: Machine
    inputs: Inputs
    given_up: tuple[str, ...] = ()
    note: str = ""
    machine: Mapping[str, Any] = field(default_factory=dict)


def nearest_stacks(
    *, gpu: Machine, system: Machine, inputs: Inputs, resolve: Resolve, compat: Compat
) -> list[dict[str, Any]]:
    """Return up to three ways out, nearest first. ``resolve`` raises Refused for what is none."""

    def working(variations: Iterator[Variation]) -> Iterator[dict[str, Any]]:
        for variation in variations:
            try:
                plan = resolve(variation.gpu, variation.system, variation.inputs)
            except Refused:
                continue
            yield {"advice": advice(variation, plan), "inputs": dict(variation.inputs), "machine": variation.machine}

    # The first kind of change that helps is the nearest; what goes further would only blur it.
    kinds = (
        quoted(gpu, system, inputs),
        on_another_system(gpu, system, inputs, compat=compat),
        chain(
            with_fewer_pins(gpu, system, inputs, dropped=1),
            with_other_gpus(gpu, system, inputs),
            with_the_cpu_build(gpu, system, inputs),
        ),
        with_fewer_pins(gpu, system, inputs, dropped=2),
        with_fewer_pins(gpu, system, inputs, dropped=len(pinned_groups(inputs))),
        without_pins(gpu, system, inputs),
    )
    for kind in kinds:
        offers = list(islice(working(kind), OFFERS))
        if offers:
            return offers
    return []


def pinned_groups(inputs: Inputs) -> list[str]:
    return [group for group, names in GROUPS.items() if any(is_set(inputs.get(name)) for name in names)]


# --- the changes, by kind ---------------------------------------------------------------------------------------------


def quoted(gpu: Machine, system: Machine, inputs: Inputs) -> Iterator[Variation]:
    """Quote a version that YAML took for a number, and give it its zero back: 12.8 is itself, 2.2 was written 2.20."""
    numbers = {name: str(value) for name, value in inputs.items() if isinstance(value, float)}
    for zeros in product(("", "0"), repeat=len(numbers)):
        versions = {name: f"{number}{zero}" for (name, number), zero in zip(numbers.items(), zeros, strict=True)}
        if versions:
            written = ", ".join(f"{name}: '{version}'" for name, version in versions.items())
            yield Variation(gpu, system, {**inputs, **versions}, note=f"write {written}")


def with_fewer_pins(gpu: Machine, system: Machine, inputs: Inputs, *, dropped: int) -> Iterator[Variation]:
    groups = pinned_groups(inputs)
    for given_up in combinations(groups, dropped) if 0 < dropped <= len(groups) else ():
        names = {name for group in given_up for name in GROUPS[group]}
        kept = {name: value for name, value in inputs.items() if name not in names}
        yield Variation(gpu, system, kept, given_up=given_up)


def with_other_gpus(gpu: Machine, system: Machine, inputs: Inputs) -> Iterator[Variation]:
    """Take out the GPUs that need the one kind of kernel modules, then those that need the other."""
    gpus = gpu.get("gpus") or []
    for modules in ("proprietary", "open"):
        kept = [entry for entry in gpus if entry.get("kernel_modules") != modules]
        if kept and len(kept) < len(gpus):
            gone = " and ".join(dict.fromkeys(gpu_name(entry) for entry in gpus if entry not in kept))
            yield Variation(
                {**gpu, "gpus": kept},
                system,
                inputs,
                note=f"take the {gone} out of this machine",
                machine={"gpus": [gpu_name(entry) for entry in kept]},
            )


def on_another_system(gpu: Machine, system: Machine, inputs: Inputs, *, compat: Compat) -> Iterator[Variation]:
    """Move a machine to the successor of its unsupported system, as that comes out of the box."""
    known = know_system(system, compat=compat)
    for target in compat.systems:
        if known is not None and target.name == known.way_out:
            fresh = {
                "id": target.ids[0],
                "version": target.version,
                "name": target.name,
                "architecture": system.get("architecture"),
                "pythons": [{"path": f"/usr/bin/python{target.python}", "version": target.python}],
            }
            yield Variation(gpu, fresh, inputs, note=f"install {target.name}", machine={"system": fresh})


def with_the_cpu_build(gpu: Machine, system: Machine, inputs: Inputs) -> Iterator[Variation]:
    """Leave the GPUs idle, which keeps at least TensorFlow and Python as they were asked for."""
    if gpu.get("gpus") and not is_set(inputs.get("tensorflow_build")):
        names = (*GROUPS["the driver"], *GROUPS["the driver's source"], *GROUPS["the kernel modules"])
        kept = {name: value for name, value in inputs.items() if name not in names}
        yield Variation(gpu, system, {**kept, "tensorflow_build": "cpu"}, note="leave the GPUs idle")


def without_pins(gpu: Machine, system: Machine, inputs: Inputs) -> Iterator[Variation]:
    """Drop all pins and change the GPUs as well: what is left where both stand in the way."""
    everything = {name for names in GROUPS.values() for name in names}
    bare = {name: value for name, value in inputs.items() if name not in everything}
    for variation in (*with_other_gpus(gpu, system, bare), *with_the_cpu_build(gpu, system, bare)):
        yield replace(variation, given_up=tuple(pinned_groups(inputs)))


# --- how it is said ---------------------------------------------------------------------------------------------------


def advice(variation: Variation, plan: Mapping[str, Any]) -> str:
    """Return one line: what is kept, what changes, and what comes out."""
    outcome = _outcome(plan)
    dropped = f"drop the pin on {' and on '.join(variation.given_up)}"
    if variation.note and variation.given_up:
        return f"{variation.note} and {dropped}: {outcome}"
    if variation.note:
        return f"{variation.note}: {outcome}"
    if set(variation.given_up) & TENSORFLOW_GROUPS:
        return f"keep {_what_stays(variation)}: {outcome}"
    return f"keep {_what_stays(variation)}: {dropped}"


def _what_stays(variation: Variation) -> str:
    """Name what a person would least like to lose among what is not given up."""
    inputs = variation.inputs
    if is_set(inputs.get("tensorflow_version")):
        return f"TensorFlow {inputs['tensorflow_version']}"
    gpus = variation.gpu.get("gpus") or []
    if gpus:
        return f"the {gpu_name(gpus[0])}"
    kept = pinned_groups(inputs)
    return kept[0] if kept else "this machine"


def _outcome(plan: Mapping[str, Any]) -> str:
    stack = plan["stack"]
    tensorflow = stack["tensorflow"]
    manager = "in a conda environment" if stack["conda"] else "in a venv"
    build = ", CPU build," if tensorflow["build"] == "cpu" else ""
    return (
        f"TensorFlow {tensorflow['version']}{build} from {tensorflow['source']} "
        f"with Python {stack['python']['version']} {manager}"
    )
