# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge a training job: what it shows, what it disproves, and what nobody looked at.

Pure. Every check ends as passed, failed or not_checked. What could not be looked at is never passed.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils import role_inputs
from ansible_collections.gpulab.workstation.plugins.plugin_utils.templates import templates

# Accuracy after the recipe's own number of epochs, with room below what sound machines reach: see docs/cifar10.md.
FLOORS = {"canonical": 0.67, "path": 0.62, "generated": 0.75}

# A GPU that reaches less than this share of the fastest of its model in the same machine is not well.
EQUAL_SHARE = 0.85

# The errors of gpu_info that say why TensorFlow has no use of a GPU, with its place on the bus.
NO_USE = ("gpu_lost", "gpu_unreadable", "gpu_undriven")

NO_GPU = "There is no NVIDIA GPU on this machine."
NO_TELEMETRY = "NVIDIA's management library (NVML) gave no readings."


@dataclass(frozen=True)
class Expected:
    """What the machine is held to. A floor of 0 is no floor, but for accuracy, where it is the images' own."""

    gpus: int
    min_accuracy: float = 0
    min_images_per_s: float = 0
    min_utilization: float = 0  # percent, of each GPU while it is kept busy by itself
    # Images per second of accepted proofs: {GPUs: {recipe: {host: rate}}}, with the GPUs as `kind` names them.
    accepted: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    share: float = 0.85  # of what is known, that must be reached
    findings: Sequence[Mapping[str, str]] = ()  # of gpu_info


@dataclass(frozen=True)
class Check:
    name: str
    status: str  # passed, failed or not_checked
    detail: str


def kind(models: Sequence[object]) -> str:
    """The GPUs of a machine in words, by which machines are compared: ``2 × NVIDIA RTX A6000``; empty without any."""
    counts = Counter(str(model) for model in models)
    return " + ".join(name if count == 1 else f"{count} × {name}" for name, count in sorted(counts.items()))


def expectation(result: Mapping[str, Any] | None, expected: Expected) -> dict[str, Any] | None:
    """Return what is known of the throughput to expect: ``{images_per_s, floor, source}``, or None."""
    if not result:
        return None
    models = [device["model"] for device in result["devices"] if device["kind"] == "GPU"]
    rates = list(expected.accepted.get(kind(models), {}).get(result["recipe"], {}).values()) if models else []
    if not rates:
        return None
    source = f"median of {len(rates)} accepted proof{'s' if len(rates) > 1 else ''} with {kind(models)}"
    return {"images_per_s": round(statistics.median(rates), 1), "floor": expected.share, "source": source}


def accept(
    records: Sequence[Mapping[str, Any]], accepted: Mapping[str, Mapping[str, Mapping[str, float]]]
) -> dict[str, dict[str, dict[str, float]]]:
    """Return the table ``accepted`` with the proofs of a run's ``records`` that passed on GPUs in it.

    An inventory reads the table, and a proof is in a machine's own words: one that no trainer writes is a ValueError.
    """
    table = {gpus: {recipe: dict(rates) for recipe, rates in recipes.items()} for gpus, recipes in accepted.items()}
    for record in records:
        proof = record.get("proof") or {}
        models = [device["model"] for device in proof.get("devices") or [] if device["kind"] == "GPU"]
        if proof.get("passed") and models:
            host, recipe, rate = record["host"], proof["recipe"], proof["images_per_s"]
            for problem in _unacceptable(kind(models), recipe, rate):
                raise ValueError(
                    f"{host}: {problem}. See what has put it there, and accept a run without the machine, one with "
                    f"--limit 'all:!{host}'."
                )
            table.setdefault(kind(models), {}).setdefault(recipe, {})[host] = rate
    return table


def _unacceptable(gpus: str, recipe: object, rate: object) -> Iterator[str]:
    for text in templates(gpus):
        yield f"it calls its GPUs {text}, which Ansible would run as a template once it stood in the inventory"
    recipes = role_inputs.spec("cifar10")["cifar10_recipe"]["choices"]
    if recipe not in recipes:
        yield f"its recipe is {recipe!a:.120}, and must be {' or '.join(recipes)}"
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 < rate < math.inf:
        yield f"its images_per_s is {rate!a:.120}, and must be a number above 0"


def judge(job: Mapping[str, Any], expected: Expected) -> list[dict[str, str]]:
    """Return the checks of what the module gpu_job returned, as dictionaries in the order people read them."""
    return [asdict(check) for check in _checks(job, expected)]


def _checks(job: Mapping[str, Any], expected: Expected) -> Iterator[Check]:
    result = job.get("result")
    if job.get("rc") != 0 or job.get("reason") != "exited" or not isinstance(result, Mapping):
        yield Check("training", "failed", " ".join([_cause(job), *_no_use(expected)]))
        for name in ("accuracy", "learning", "devices", "throughput", "each_gpu"):
            yield Check(name, "not_checked", "The training did not come to its end.")
    else:
        yield _verdict("training", True, f"{result['epochs']} epochs in {result['seconds_training']:.0f} s.")
        yield _accuracy(result, expected)
        yield _learning(result["history"])
        yield _devices(result, job.get("telemetry"), expected)
        yield _throughput(result, expected)
        yield _each_gpu(result, expected)
    yield from _gpu_checks(job.get("telemetry"), result if isinstance(result, Mapping) else {}, expected)


def _cause(job: Mapping[str, Any]) -> str:
    if job.get("rc") == 0 and job.get("reason") == "exited":
        return "The trainer ended well and left no result."
    return str(job.get("msg") or "The job failed without a word.").removesuffix(".") + "."


def _verdict(name: str, good: bool, detail: str) -> Check:
    return Check(name, "passed" if good else "failed", detail)


def _accuracy(result: Mapping[str, Any], expected: Expected) -> Check:
    data = result["dataset"]
    floor = expected.min_accuracy or FLOORS[data["source"]]
    return _verdict(
        "accuracy",
        result["accuracy"] >= floor,
        f"{result['accuracy']:.4f} on {data['test']:,} test images ({data['name']}); at least {floor:g} was asked.",
    )


def _learning(history: list[Mapping[str, Any]]) -> Check:
    losses = [epoch["loss"] for epoch in history]
    if not all(isinstance(loss, (int, float)) and math.isfinite(loss) for loss in losses):
        return _verdict("learning", False, "The loss was not a number in some epoch.")
    if len(losses) < 2:
        return Check("learning", "not_checked", "One epoch alone does not show that the loss falls.")
    return _verdict("learning", losses[-1] < losses[0], f"The loss went from {losses[0]:.3f} to {losses[-1]:.3f}.")


def _devices(result: Mapping[str, Any], telemetry: Mapping[str, Any] | None, expected: Expected) -> Check:
    seen = [device for device in result["devices"] if device["kind"] == "GPU"]
    used = [name for name in result["trained_on"] if name.startswith("GPU")]
    detail = f"TensorFlow sees {_gpus(len(seen))} and trained on {', '.join(result['trained_on'])}"
    detail += f"; {_gpus(expected.gpus)} {'are' if expected.gpus > 1 else 'is'} planned."
    if not len(seen) == len(used) == expected.gpus:
        return _verdict("devices", False, " ".join([detail, *_no_use(expected)]))
    # NVML's own word for where the job's process was, where it can be known.
    gpus = (telemetry or {}).get("gpus") or []
    said, found = {device.get("pci_address") for device in seen}, {gpu["pci_address"] for gpu in gpus if gpu["used"]}
    if seen and None not in said and gpus and all(gpu["used"] is not None for gpu in gpus) and said != found:
        places = f"the job ran on {_places(found)} by NVML, on {_places(said)} by TensorFlow"
        return _verdict("devices", False, f"{detail.removesuffix('.')}; {places}.")
    return _verdict("devices", True, detail)


def _no_use(expected: Expected) -> list[str]:
    return [finding["message"] for finding in expected.findings if finding["code"] in NO_USE]


def _places(addresses: set[Any]) -> str:
    return ", ".join(sorted(addresses)) or "no GPU"


def _gpus(count: int) -> str:
    return "no GPU" if count == 0 else "1 GPU" if count == 1 else f"{count} GPUs"


def _throughput(result: Mapping[str, Any], expected: Expected) -> Check:
    rate = f"{result['images_per_s']:,.0f} images/s"
    floors = []
    if expected.min_images_per_s:
        floors.append((expected.min_images_per_s, "was asked"))
    if known := expectation(result, expected):
        why = f"is {known['floor']:.0%} of {known['images_per_s']:,.0f}, the {known['source']}"
        floors.append((known["images_per_s"] * known["floor"], why))
    if not floors:
        return Check("throughput", "not_checked", f"{rate}; nothing is known of what to expect here.")
    floor, why = max(floors)
    return _verdict("throughput", result["images_per_s"] >= floor, f"{rate}; at least {floor:,.0f} {why}.")


def _each_gpu(result: Mapping[str, Any], expected: Expected) -> Check:
    """Each GPU alone: that each works is known from the training having come here; a slow one is found among equals."""
    alone = [row for row in result.get("alone", []) if row["name"].startswith("GPU")]
    if not alone:
        return Check("each_gpu", "not_checked", NO_GPU if not expected.gpus else "The GPUs were not tried one by one.")
    slow = []
    for row in alone:
        best = max(other["images_per_s"] for other in alone if other["model"] == row["model"])
        if row["images_per_s"] < EQUAL_SHARE * best:
            place = f"{row['name']} ({row['model']}, {row['pci_address']})"
            slow.append(f"{place} reaches {row['images_per_s'] / best:.0%} of the fastest of its model here")
    rates = ", ".join(f"{row['name']} {row['images_per_s']:,.0f} images/s" for row in alone)
    return _verdict("each_gpu", not slow, f"Alone: {rates}." + (f" {'; '.join(slow)}." if slow else ""))


def _gpu_checks(telemetry: Mapping[str, Any] | None, result: Mapping[str, Any], expected: Expected) -> Iterator[Check]:
    if not expected.gpus:
        for name in ("gpu_utilization", "throttling", "pcie", "other_processes", "ecc", "xid"):
            yield Check(name, "not_checked", NO_GPU)
        return
    gpus = (telemetry or {}).get("gpus") or []
    yield _utilization(gpus, result.get("alone", []), expected)
    if not gpus:
        for name in ("throttling", "pcie", "other_processes", "ecc", "xid"):
            yield Check(name, "not_checked", NO_TELEMETRY)
        return
    yield _throttling(gpus)
    yield _pcie(gpus)
    yield _other_processes(gpus)
    yield _ecc(gpus)
    yield _xid(gpus)


def _each(gpus: list[Mapping[str, Any]], words: dict[int, str]) -> str:
    """`gpu 0: …; gpu 1: …`, for the GPUs that there is something to say about."""
    return "; ".join(f"GPU {gpu['index']}: {words[gpu['index']]}" for gpu in gpus if gpu["index"] in words)


def _utilization(gpus: list[Mapping[str, Any]], alone: list[Mapping[str, Any]], expected: Expected) -> Check:
    """Of each GPU while it was kept busy alone. The small network of the recipes would leave a large GPU waiting.

    Where a GPU was kept busy and a floor was asked, no reading is no excuse: a machine whose GPUs cannot be watched is
    not sound.
    """
    names = {row["pci_address"]: row["name"] for row in alone}
    busy = {gpu["index"]: gpu["marks"].get(f"load {names.get(gpu['pci_address'])}", {}) for gpu in gpus}
    known = {index: read["utilization"]["mean"] for index, read in busy.items() if read.get("utilization")}
    if not alone:
        return Check("gpu_utilization", "not_checked", "No GPU was kept busy by itself.")
    if len(known) < len(alone):
        places = {gpu["pci_address"] for gpu in gpus}
        strangers = bool(gpus) and any(row["pci_address"] not in places for row in alone)  # those are for _devices
        status = "failed" if expected.min_utilization and not strangers else "not_checked"
        why = "No utilization was read while a GPU was kept busy by itself." if gpus else NO_TELEMETRY
        return Check("gpu_utilization", status, why)
    detail = _each(gpus, {index: f"{mean:.0f} %" for index, mean in known.items()})
    if not expected.min_utilization:
        return Check("gpu_utilization", "not_checked", f"{detail}; no floor was asked.")
    good = min(known.values()) >= expected.min_utilization
    return _verdict("gpu_utilization", good, f"{detail}; at least {expected.min_utilization:.0f} % was asked of each.")


def _throttling(gpus: list[Mapping[str, Any]]) -> Check:
    if any(gpu["throttled"] is None for gpu in gpus):
        return Check("throttling", "not_checked", "The reasons for lower clocks could not be read.")
    slowed = {gpu["index"]: ", ".join(gpu["throttled"]) for gpu in gpus if gpu["throttled"]}
    return _verdict("throttling", not slowed, _each(gpus, slowed) + "." if slowed else "No GPU was slowed down.")


def _pcie(gpus: list[Mapping[str, Any]]) -> Check:
    links = {gpu["index"]: gpu["pcie"] for gpu in gpus if gpu["pcie"]}
    if len(links) < len(gpus):
        return Check("pcie", "not_checked", "The PCIe link could not be read.")
    words = {
        index: f"generation {link['generation']} of {link['generation_max']}, x{link['width']} of x{link['width_max']}"
        for index, link in links.items()
    }
    good = all(
        link["generation"] >= link["generation_max"] and link["width"] >= link["width_max"] for link in links.values()
    )
    return _verdict("pcie", good, _each(gpus, words) + ".")


def _other_processes(gpus: list[Mapping[str, Any]]) -> Check:
    if any(gpu["processes"] is None for gpu in gpus):
        return Check("other_processes", "not_checked", "The GPUs' processes could not be read, or not told apart.")
    others = {
        gpu["index"]: ", ".join(f"{one['name']} of {one['user']} (process {one['pid']})" for one in gpu["processes"])
        for gpu in gpus
        if gpu["processes"]
    }
    detail = _each(gpus, others) + "." if others else "The job had the GPUs to itself."
    return _verdict("other_processes", not others, detail)


def _ecc(gpus: list[Mapping[str, Any]]) -> Check:
    counts = {gpu["index"]: gpu["ecc_errors"] for gpu in gpus if gpu["ecc_errors"] is not None}
    if not counts:
        return Check("ecc", "not_checked", "These GPUs do not count memory errors.")
    bad = {index: f"{count} new uncorrected errors" for index, count in counts.items() if count}
    return _verdict("ecc", not bad, _each(gpus, bad) + "." if bad else "No new uncorrected memory error.")


def _xid(gpus: list[Mapping[str, Any]]) -> Check:
    if any(gpu["xid_errors"] is None for gpu in gpus):
        return Check("xid", "not_checked", "The driver tells NVML of no errors here.")
    bad = {gpu["index"]: "Xid " + ", ".join(map(str, gpu["xid_errors"])) for gpu in gpus if gpu["xid_errors"]}
    detail = _each(gpus, bad) + " (docs.nvidia.com/deploy/xid-errors)." if bad else "The driver told of no error (Xid)."
    return _verdict("xid", not bad, detail)
