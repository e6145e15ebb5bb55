"""Versions, match specs and requirements, weighed by names and versions alone."""

from __future__ import annotations

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_spec import (
    MatchSpec,
    Package,
    SpecError,
    Version,
    requirement_holds,
    requirement_name,
)
from hypothesis import given
from hypothesis import strategies as st

# The example of conda's own documentation of its order, with what PEP 440 adds.
ORDERED = [
    "0.4",
    "0.4.1.rc",
    "0.4.1",
    "0.5a1",
    "0.5b3",
    "0.5",
    "0.9.6",
    "0.960923",
    "1.0",
    "1.1dev1",
    "1.1a1",
    "1.1.0dev1",
    "1.1.a1",
    "1.1.0rc1",
    "1.1.0",
    "1.1.0post1",
    "1.1post1",
    "1996.07.12",
    "1!0.4.1",
    "1!3.1.1.6",
    "2!0.4.1",
]


@pytest.mark.parametrize(("older", "newer"), list(zip(ORDERED, ORDERED[1:])))
def test_versions_are_in_the_order_of_condas_documentation(older: str, newer: str) -> None:
    assert Version(older) <= Version(newer)
    assert Version(newer) >= Version(older)


@pytest.mark.parametrize(("left", "right"), [("0.4", "0.4.0"), ("1.1", "1.1.0.0"), ("1.0RC1", "1.0rc1")])
def test_versions_that_differ_in_zeros_or_case_are_equal(left: str, right: str) -> None:
    assert Version(left) == Version(right)


@given(st.lists(st.integers(0, 99), min_size=1, max_size=4), st.lists(st.integers(0, 99), min_size=1, max_size=4))
def test_plain_versions_are_in_the_order_of_their_numbers(left: list[int], right: list[int]) -> None:
    width = max(len(left), len(right))
    padded = [numbers + [0] * (width - len(numbers)) for numbers in (left, right)]
    versions = [Version(".".join(map(str, numbers))) for numbers in (left, right)]
    assert (versions[0] < versions[1]) == (padded[0] < padded[1])


PYTHON = Package("python", "3.12.4", "h194c7f8_0_cpython")
TENSORFLOW = Package("tensorflow", "2.19.1", "cuda128py312hbba21b1_256")


@pytest.mark.parametrize(
    ("spec", "package", "expected"),
    [
        ("python", PYTHON, True),
        ("python=3.12", PYTHON, True),
        ("python=3.1", PYTHON, False),
        ("python==3.12", PYTHON, False),
        ("python 3.12.*", PYTHON, True),
        ("python 3.12.4", PYTHON, True),
        ("python >=3.10,<3.13", PYTHON, True),
        ("python>=3.10, <3.12", PYTHON, False),
        ("python 3.11.*|3.12.*", PYTHON, True),
        ("python!=3.12.4", PYTHON, False),
        ("python~=3.12.1", PYTHON, True),
        ("python~=3.11.1", PYTHON, False),
        ("numpy", PYTHON, False),
        ("tensorflow=2.19.1=cuda128*", TENSORFLOW, True),
        ("tensorflow=*=cuda*", TENSORFLOW, True),
        ("tensorflow=*=cpu*", TENSORFLOW, False),
        ("tensorflow 2.19.1 cuda128py312hbba21b1_256", TENSORFLOW, True),
        ("conda-forge::tensorflow", TENSORFLOW, True),
        ("tensorflow[version='>=2.19,<3', build='cuda*']", TENSORFLOW, True),
        ("tensorflow[build=^cuda12.*$]", TENSORFLOW, True),
    ],
)
def test_a_match_spec_matches_as_conda_has_it(spec: str, package: Package, expected: bool) -> None:
    assert MatchSpec.parse(spec).matches(package) is expected


def test_a_match_spec_names_its_channel() -> None:
    assert MatchSpec.parse("conda-forge::numpy").channel == "conda-forge"
    assert MatchSpec.parse("numpy[channel=https://host/x]").channel == "https://host/x"


@pytest.mark.parametrize("spec", ["", "numpy[sha256=00]", "=1.2"])
def test_what_is_not_a_match_spec_is_refused(spec: str) -> None:
    with pytest.raises(SpecError):
        MatchSpec.parse(spec)


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("numpy", True),
        ("NumPy==1.26.4", True),
        ("numpy>=2", False),
        ("numpy<2,>=1.20", True),
        ("torch==2.1", True),
        ("torch==2.1+cu12", True),
        ("rc<2", False),
        ("rc<=2", True),
        ("keras", False),
        ("tensorflow[and-cuda]==2.20.0", True),
        ("numpy ; python_version < '3.9'", None),
        ("https://host/x.whl", None),
        ("numpy @ file:///x.whl", None),
    ],
)
def test_a_requirement_holds_as_pip_has_it(requirement: str, expected: object) -> None:
    installed = {"numpy": "1.26.4", "torch": "2.1+cu12", "rc": "2.0rc1", "tensorflow": "2.20.0"}
    assert requirement_holds(requirement, installed) is expected


def test_the_name_of_a_requirement_is_normalized() -> None:
    assert requirement_name("Typing_Extensions>=4 ; x") == "typing-extensions"
    assert requirement_name("https://host/x.whl") == ""
