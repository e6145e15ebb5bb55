"""The compatibility data is sound, the checker finds what is not, and the loader reads it as it is meant."""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.plugin_utils import compatibility

SCRIPT = Path(__file__).parents[2] / "scripts" / "check_compat.py"
spec = importlib.util.spec_from_file_location("check_compat", SCRIPT)
assert spec
assert spec.loader
check_compat = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_compat)


def test_the_data_has_no_holes_and_no_contradictions() -> None:
    assert check_compat.problems(check_compat.read()) == []


def entry(data: dict[str, Any], topic: str, version: str) -> dict[str, Any]:
    return next(item for item in data[topic] if check_compat.name_of(item) == version)


@pytest.mark.parametrize(
    ("topic", "name", "change", "complaint"),
    [
        ("tensorflow_pip", "2.20.0", {"source": []}, "has no source"),
        ("tensorflow_pip", "2.21.0", {"python": ["3.9", "3.13"]}, "is for Python 3.9, which ended on 2025-10-31"),
        ("architectures", "volta", {"last_branch": None}, "no branch is said to be its last"),
        ("tensorflow_pip", "2.20.0", {"source": ["HEARSAY"]}, "cites HEARSAY"),
        ("tensorflow_pip", "2.20.0", {"checked": None}, "has no date"),
        ("tensorflow_pip", "2.20.0", {"version": "2.9.0"}, "not newest first"),
        ("tensorflow_pip", "2.20.0", {"cuda": "12.7"}, "which cuda.yml lacks"),
        ("tensorflow_pip", "2.20.0", {"code": ["sm60"]}, "has code 'sm60'"),
        ("tensorflow_pip", "2.20.0", {"finds_libraries": None}, "nobody has read"),
        ("tensorflow_pip", "2.20.0", {"python": ["3.15"]}, "3.15 is in use"),
        ("driver_branches", "615", {"unverified": []}, "does not say that it is unverified"),
        ("driver_branches", "580", {"eol": "UNVERIFIED"}, "presents an unverified value"),
        ("driver_branches", "590", {"architectures": ["maxwell", "blackwell"]}, "whose last branch is 580"),
        ("driver_branches", "535", {"cuda": "13.0"}, "whose driver is"),
        ("cuda", "12.8.1", {"gcc": None}, "has no gcc"),
        ("cudnn", "9.17.0", {"capability_min": "5.0"}, "contradict the cut"),
        ("operating_systems", "20.04", {"way_out": "EL 8"}, "not supported either"),
        ("operating_systems", "24.04", {"transitional": {"580": "595"}}, "cannot be transitional"),
        ("operating_systems", "24.04", {"kernel": None}, "has no kernel"),
    ],
)
def test_the_checker_finds(topic: str, name: str, change: dict[str, Any], complaint: str) -> None:
    data = copy.deepcopy(check_compat.read())
    entry(data, topic, name).update(change)
    assert any(complaint in problem for problem in check_compat.problems(data))


def test_the_checker_finds_every_key_that_is_missing() -> None:
    sound = check_compat.read()
    for topic, keys in check_compat.REQUIRED.items():
        first, *others = sound[topic]
        for key in keys:
            without = {name: value for name, value in first.items() if name != key}
            found = check_compat.problems({**sound, topic: [without, *others]})
            assert len(found) == 1
            assert found[0].startswith(f"{topic}: entry 1 (")
            assert found[0].endswith(f") has no {key}")


def test_the_loader_needs_no_key_that_the_checker_does_not() -> None:
    records = {
        "architectures": compatibility.Architecture,
        "conda": compatibility.Conda,
        "cuda": compatibility.Toolkit,
        "cudnn": compatibility.Cudnn,
        "driver_branches": compatibility.Branch,
        "operating_systems": compatibility.System,
        "tensorflow_pip": compatibility.Release,
    }
    derived = {"origin", "rank", "first", "last"}
    for topic, record in records.items():
        needed = {
            field.name
            for field in dataclasses.fields(record)
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        }
        assert needed - derived <= set(check_compat.REQUIRED[topic])


def test_the_data_is_parsed_once_a_process() -> None:
    assert compatibility.load() is compatibility.load()


@pytest.mark.parametrize(
    ("older", "newer"),
    [("2.9.0", "2.10.0"), ("2.15.0", "2.15.0.post1"), ("570.26", "570.124.06"), ("8.9.7", "9.3.0.75")],
)
def test_versions_are_compared_as_numbers(older: str, newer: str) -> None:
    assert compatibility.version_key(older) < compatibility.version_key(newer)


@pytest.mark.parametrize(
    ("version", "pin", "expected"),
    [("2.20.0", "2.20", True), ("2.20.0", "2.2", False), ("2.20.0", "2.20.0", True), ("2.20.0", "2.20.1", False)],
)
def test_a_short_pin_takes_the_patch_releases_of_its_own_minor(version: str, pin: str, expected: bool) -> None:
    assert compatibility.matches(version, pin) is expected


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2028-06", date(2028, 6, 30)),
        ("2027-12", date(2027, 12, 31)),
        ("2028-02", date(2028, 2, 29)),
        ("2026-07-11", date(2026, 7, 11)),
    ],
)
def test_a_month_ends_with_its_last_day(text: str, day: date) -> None:
    assert compatibility.end_of(text) == day


def test_machine_code_runs_on_later_minors_of_its_major_and_nowhere_else() -> None:
    code = compatibility.parse_code(["sm_60", "sm_80", "compute_90"])
    assert code.runs_natively_on((6, 1))
    assert code.runs_natively_on((8, 9))
    assert not code.runs_natively_on((7, 0))
    assert not code.runs_natively_on((9, 0))


def test_ptx_is_compiled_for_later_gpus_only() -> None:
    code = compatibility.parse_code(["sm_60", "compute_90", "sm_120"])
    assert code.ptx == (9, 0)
    assert code.machine == ((6, 0), (12, 0))
    assert code.can_be_compiled_for((12, 0))
    assert not code.can_be_compiled_for((8, 9))


def test_every_supported_system_of_the_collection_is_in_the_data() -> None:
    names = {system.name for system in compatibility.load().systems if system.supported}
    assert names == {
        "Ubuntu 22.04", "Ubuntu 24.04", "Ubuntu 26.04", "Debian 12", "Debian 13",
        "EL 9", "EL 10", "CentOS Stream 9", "CentOS Stream 10",
    }  # fmt: skip
