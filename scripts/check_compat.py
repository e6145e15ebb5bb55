# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the compatibility data for holes and contradictions: `python scripts/check_compat.py`. Silent when it is sound.

A hole is a value that a rule would need and that is neither there nor declared unverified. A contradiction is two
values that cannot both be true, such as a Python that a release supports and that ended before the release was made.
Where a key is missing altogether that is all that is said: the rest would only follow from it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[1] / "plugins" / "plugin_utils" / "compat"
DAY = re.compile(r"\d{4}-\d{2}(-\d{2})?")

# Without these an entry says nothing; what may be missing has a meaning of its own then, and is not here.
REQUIRED = {
    "architectures": ("name", "capabilities", "modules"),
    "conda": ("distribution", "version", "architectures", "glibc", "checksum"),
    "cuda": ("version", "driver", "driver_min", "capability_min", "capability_max", "gcc"),
    "cudnn": ("version", "wheels", "capability_min", "capability_max", "driver_min"),
    "driver_branches": ("branch", "kind", "latest", "eol", "cuda", "modules", "architectures"),
    "gpu_exceptions": ("device_ids", "first_branch"),
    "nvidia_repository": ("branch", "modules"),
    "operating_systems": ("name", "ids", "version", "supported", "eol", "glibc", "python"),
    "python": ("version", "eol"),
    "tensorflow_conda": ("version", "python", "glibc", "cuda", "cudnn", "code", "spec"),
    "tensorflow_pip": (
        *("version", "released", "python", "glibc", "cuda", "cudnn", "code"),
        *("cuda_extra", "finds_libraries", "aarch64", "locked"),
    ),
}

Data = dict[str, Any]


def read(folder: Path = FOLDER) -> Data:
    """Return every data file by its name; the repository's branches as a list like the others."""
    data = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yml"))}
    data["nvidia_repository"] = data["nvidia_repository"]["branches"]
    return data


def problems(data: Data) -> list[str]:
    """Return what is wrong with the data, a line each."""
    missing = list(entries_are_complete(data))
    if missing:
        return missing
    checks = (
        entries_are_sourced,
        dates_are_dates,
        unverified_values_are_empty_or_told,
        lists_are_in_order,
        branches_name_architectures,
        sources_offer_known_branches,
        gpu_code_is_known,
        releases_agree_with_themselves,
        every_cuda_has_a_toolkit,
        toolkits_agree_with_branches,
        cudnn_agrees_with_the_cut,
        systems_are_complete,
        pythons_have_an_end,
        pythons_outlive_their_releases,
    )
    return [problem for check in checks for problem in check(data)]


def name_of(entry: Data) -> str:
    return str(entry.get("version") or entry.get("branch") or entry.get("name") or entry.get("device_ids"))


def entries(data: Data) -> Iterator[tuple[str, Data]]:
    for topic, items in data.items():
        if topic != "sources":
            for entry in items:
                yield f"{topic}: {entry.get('distribution', '')}{entry.get('name') or name_of(entry)}", entry


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def entries_are_complete(data: Data) -> Iterator[str]:
    for topic, keys in REQUIRED.items():
        for place, entry in enumerate(data[topic], start=1):
            for key in keys:
                if key not in entry:
                    yield f"{topic}: entry {place} ({name_of(entry)}) has no {key}"


def entries_are_sourced(data: Data) -> Iterator[str]:
    cited = set()
    for where, entry in entries(data):
        if not entry.get("source"):
            yield f"{where} has no source"
        if not entry.get("checked"):
            yield f"{where} has no date"
        cited.update(entry.get("source", ()))
        for source in set(entry.get("source", ())) - set(data["sources"]):
            yield f"{where} cites {source}, which sources.yml does not have"
    for name, source in data["sources"].items():
        if not source.get("text") or not source.get("read"):
            yield f"sources: {name} needs a text and the date it was read"


def dates_are_dates(data: Data) -> Iterator[str]:
    for where, entry in entries(data):
        for key in ("eol", "eol_lts", "released", "checked"):
            if entry.get(key) is not None and not DAY.fullmatch(str(entry[key])):
                yield f"{where}: {key} {entry[key]!r} is no date"
        if str(entry.get("checked", "")) > date.today().isoformat():
            yield f"{where} was checked in the future"


def unverified_values_are_empty_or_told(data: Data) -> Iterator[str]:
    for where, entry in entries(data):
        for key, value in entry.items():
            if "UNVERIFIED" in str(value).upper() and key not in ("note", "unverified", "checksum"):
                yield f"{where}: {key} presents an unverified value as a fact"
    for branch in data["driver_branches"]:
        for key in ("eol", "latest"):
            if branch[key] is None and key not in branch.get("unverified", ()):
                yield f"driver_branches: {branch['branch']} has no {key}, and does not say that it is unverified"
    for toolkit in data["cuda"]:
        if toolkit["gcc"] is None and "gcc" not in toolkit.get("unverified", ()):
            yield f"cuda: {toolkit['version']} has no gcc, and does not say that it is unverified"


def lists_are_in_order(data: Data) -> Iterator[str]:
    for topic in ("tensorflow_pip", "tensorflow_conda", "cuda", "cudnn"):
        found = [numbers(entry["version"]) for entry in data[topic]]
        if found != sorted(set(found), reverse=True):
            yield f"{topic}: not newest first, or a version twice"
    branches = [int(entry["branch"]) for entry in data["driver_branches"]]
    if branches != sorted(set(branches)):
        yield "driver_branches: not oldest first, or a branch twice"


def branches_name_architectures(data: Data) -> Iterator[str]:
    ranks = {entry["name"]: rank for rank, entry in enumerate(data["architectures"])}
    branches = {entry["branch"]: entry for entry in data["driver_branches"]}
    newest = max(branches, key=int)
    for branch in branches.values():
        if set(branch["architectures"]) - set(ranks):
            yield f"driver_branches: {branch['branch']} names an unknown architecture"
    for architecture in data["architectures"]:
        rank, last = ranks[architecture["name"]], architecture.get("last_branch")
        for branch in branches.values():
            first_rank, last_rank = (ranks[name] for name in branch["architectures"])
            if last is None and branch["branch"] == newest and rank < first_rank:
                yield f"{newest} does not drive {architecture['name']}, and no branch is said to be its last"
            if last and int(branch["branch"]) > int(last) and first_rank <= rank <= last_rank:
                yield f"{branch['branch']} drives {architecture['name']}, whose last branch is {last}"
        for key in ("first_branch", "last_branch"):
            if architecture.get(key) and architecture[key] not in branches:
                yield f"architectures: {architecture['name']} has {key} {architecture[key]}, which is not in the data"


def sources_offer_known_branches(data: Data) -> Iterator[str]:
    branches = {entry["branch"]: entry for entry in data["driver_branches"]}
    offers = [
        (f"operating_systems: {system['name']}", system.get("archive", {})) for system in data["operating_systems"]
    ]
    offers.append(("nvidia_repository", {entry["branch"]: entry for entry in data["nvidia_repository"]}))
    for where, offered in offers:
        for branch, offer in offered.items():
            if branch not in branches:
                yield f"{where} offers {branch}, which driver_branches does not have"
            elif set(offer["modules"]) - set(branches[branch]["modules"]):
                yield f"{where} offers {branch} with modules that the branch does not have"
            elif not str(offer.get("version", branch)).startswith(branch):
                yield f"{where} offers {offer['version']} as {branch}"
    for system in data["operating_systems"]:
        for old, new in system.get("transitional", {}).items():
            if old in system.get("archive", {}) or new not in system.get("archive", {}):
                yield f"operating_systems: {system['name']}: {old} cannot be transitional to {new}"


def gpu_code_is_known(data: Data) -> Iterator[str]:
    for topic in ("tensorflow_pip", "tensorflow_conda"):
        for release in data[topic]:
            for code in release["code"]:
                if not re.fullmatch(r"(sm|compute)_\d{2,3}", code):
                    yield f"{topic}: {release['version']} has code {code!r}"


def releases_agree_with_themselves(data: Data) -> Iterator[str]:
    for release in data["tensorflow_pip"]:
        where = f"tensorflow_pip: {release['version']}"
        if release["locked"] and release["finds_libraries"] is None:
            yield f"{where} is locked, and nobody has read whether it finds its libraries"
        if not set(release.get("cuda_extra_python") or ()) <= set(release["python"]):
            yield f"{where} has a Python for [and-cuda] that it has no wheel for"


def every_cuda_has_a_toolkit(data: Data) -> Iterator[str]:
    known = {numbers(toolkit["version"])[:2] for toolkit in data["cuda"]}
    for topic in ("tensorflow_pip", "tensorflow_conda"):
        for release in data[topic]:
            if numbers(release["cuda"])[:2] not in known:
                yield f"{topic}: {release['version']} is built with CUDA {release['cuda']}, which cuda.yml lacks"
    for system in data["operating_systems"]:
        archived = system.get("archive_cuda")
        if archived and archived not in {toolkit["version"] for toolkit in data["cuda"]}:
            yield f"operating_systems: {system['name']} has CUDA {archived}, which cuda.yml lacks"


def toolkits_agree_with_branches(data: Data) -> Iterator[str]:
    """A branch that knows a CUDA in full is not older than that toolkit's own driver."""
    for branch in data["driver_branches"]:
        for toolkit in data["cuda"]:
            if numbers(toolkit["version"])[:2] == numbers(branch["cuda"]) and numbers(toolkit["driver"])[0] > int(
                branch["branch"]
            ):
                yield f"{branch['branch']} has CUDA {branch['cuda']}, whose driver is {toolkit['driver']}"
    for toolkit in data["cuda"]:
        if numbers(toolkit["driver_min"]) > numbers(toolkit["driver"]) and numbers(toolkit["version"])[:2] != (11, 0):
            yield f"cuda: {toolkit['version']} is complete with {toolkit['driver']}, below its least driver"
        if numbers(toolkit["capability_min"]) > numbers(toolkit["capability_max"]):
            yield f"cuda: {toolkit['version']} has its capabilities the wrong way round"


def cudnn_agrees_with_the_cut(data: Data) -> Iterator[str]:
    for cudnn in data["cudnn"]:
        if (numbers(cudnn["version"]) >= (9, 11)) != (numbers(cudnn["capability_min"]) >= (7, 5)):
            yield f"cudnn: {cudnn['version']} and compute capability {cudnn['capability_min']} contradict the cut"
        for major, wheel in cudnn["wheels"].items():
            if not wheel.startswith(f"{cudnn['version']}."):
                yield f"cudnn: {cudnn['version']} has wheel {wheel}"
            if major not in cudnn["driver_min"]:
                yield f"cudnn: {cudnn['version']} has no driver for CUDA {major}"


def systems_are_complete(data: Data) -> Iterator[str]:
    names = {system["name"] for system in data["operating_systems"] if system["supported"]}
    for system in data["operating_systems"]:
        where = f"operating_systems: {system['name']}"
        if not system["supported"] and system.get("way_out") not in names:
            yield f"{where} has the way out {system.get('way_out')}, which is not supported either"
        for key in ("gcc", "kernel", "nvidia_repo") if system["supported"] else ("reason", "way_out"):
            if not system.get(key):
                yield f"{where} has no {key}"


def pythons_have_an_end(data: Data) -> Iterator[str]:
    ends = {entry["version"] for entry in data["python"]}
    used = {system["python"] for system in data["operating_systems"] if system["supported"]}
    locked = (release for release in data["tensorflow_pip"] if release["locked"])
    used.update(python for release in locked for python in release["python"])
    for python in sorted(used - ends, key=numbers):
        yield f"python: {python} is in use, and its end of life is not in the data"


def pythons_outlive_their_releases(data: Data) -> Iterator[str]:
    ends = {entry["version"]: entry["eol"] for entry in data["python"]}
    for release in data["tensorflow_pip"]:
        for python in release["python"]:
            if ends.get(python, "9999") < release["released"]:
                yield f"tensorflow_pip: {release['version']} is for Python {python}, which ended on {ends[python]}"


def main() -> int:
    found = problems(read())
    for problem in found:
        print(problem, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
