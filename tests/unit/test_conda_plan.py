"""What a declaration means, what an environment lacks of it, and what is kept of what people added."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_plan import (
    Before,
    RequestError,
    additions,
    compose_marker,
    drift,
    foreseen,
    locked_requirements,
    parse_lock,
    read_request,
    render_lock,
    unmet,
)
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_prefix import Contents
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_spec import Package

HASH = "0123456789abcdef" * 4
URL = "https://conda.anaconda.org/conda-forge/noarch/numpy-2.3.4-py312_0.conda"
LOCK = f"# platform: linux-64\n@EXPLICIT\n{URL}#{HASH}\n"
PIP_LOCK = f"six==1.17.0 ; python_version > '3' \\\n    --hash=sha256:{HASH}\n    # via keras\n"
NUMPY = Package("numpy", "2.3.4", "py312_0")
PYTHON = Package("python", "3.12.4", "0_cpython")


def no_channel(package: Package) -> str:
    return ""


def built(request: Any, *packages: Package, **distributions: str) -> Contents:
    contents = Contents(frozenset(packages), distributions)
    marker = compose_marker(prefix="/x", request=request, built_from=request.digest, contents=contents, details={})
    return Contents(contents.packages, contents.distributions, marker)


def test_the_order_of_packages_does_not_count_and_that_of_channels_does() -> None:
    one = read_request(packages=["python", "numpy"], channels=["a", "b"])
    assert one.digest == read_request(packages=["numpy", "python"], channels=["a", "b"]).digest
    assert one.digest != read_request(packages=["numpy", "python"], channels=["b", "a"]).digest


def test_a_password_makes_no_other_declaration_and_is_not_in_the_marker() -> None:
    def given(password: str, token: str) -> Any:
        mirror = f"https://me:{password}@mirror.example/t/{token}/lab"
        return read_request(
            channels=[mirror], packages=["python", f"{mirror}::numpy"], pip_packages=[f"six @ {mirror}/six.whl"]
        )

    public = read_request(
        channels=["https://mirror.example/lab"],
        packages=["python", "https://mirror.example/lab::numpy"],
        pip_packages=["six @ https://mirror.example/lab/six.whl"],
    )
    assert given("hunter2", "tk-1").digest == given("hunter3", "tk-2").digest == public.digest
    marker = built(given("hunter2", "tk-1"), PYTHON).marker
    assert marker == built(public, PYTHON).marker
    lock = f"@EXPLICIT\n{URL.replace('//', '//me:hunter2@')}#{HASH}\n"
    assert read_request(lock=lock).digest == read_request(lock=LOCK).digest


def test_a_package_of_a_channel_with_a_password_is_told_from_others_by_the_address() -> None:
    request = read_request(packages=["https://me:hunter2@mirror.example/lab::numpy"])
    contents = Contents(frozenset({NUMPY}))
    assert not unmet(request, contents, channel_of=lambda _: "https://mirror.example/lab/noarch")
    lacking = unmet(request, contents, channel_of=lambda _: "https://mirror.example/other/noarch")
    assert lacking == ["https://mirror.example/lab::numpy"]


def test_an_environment_yml_is_a_declaration() -> None:
    document = {"name": "x", "channels": ["conda-forge"], "dependencies": ["python=3.12", {"pip": ["six"]}]}
    request = read_request(environment=document, packages=["numpy"])
    assert request.channels == ("conda-forge",)
    assert request.packages == ("python=3.12", "numpy")
    assert request.pip_packages == ("six",)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs conda packages or a lock"),
        ({"packages": ["python", "numpy", "numpy>2"]}, "declared twice: numpy"),
        ({"packages": ["python"], "lock": LOCK}, "not both"),
        ({"packages": ["python"], "pip_lock": "six==1.17.0\n"}, "no hashes"),
        ({"packages": ["numpy"], "pip_packages": ["six"]}, "need a Python"),
        ({"packages": ["="]}, "not a conda match spec"),
        ({"environment": {"dependencies": ["python"], "variables": {}}}, "cannot honour variables"),
        ({"environment": {"dependencies": [{"npm": ["x"]}]}}, "cannot read the dependency"),
        ({"environment": {"dependencies": ["python", {"pip": ["-r x.txt"]}]}}, "pip options"),
        ({"lock": URL}, "@EXPLICIT is missing"),
        ({"lock": f"@EXPLICIT\n{URL}\n"}, "no SHA-256"),
        ({"lock": f"@EXPLICIT\n{URL}#{HASH[:32]}\n"}, "no SHA-256"),
        ({"lock": "@EXPLICIT\nnumpy=2\n"}, "not a package's URL"),
    ],
)
def test_a_declaration_that_cannot_be_meant_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said):
        read_request(**options)


def test_a_lock_is_read_and_written_alike() -> None:
    locked = parse_lock(LOCK)
    assert locked[0].package == NUMPY
    assert render_lock(locked, platform="linux-64") == LOCK


def test_the_requirements_of_a_pip_lock_are_without_hashes_and_comments() -> None:
    assert locked_requirements(PIP_LOCK) == ["six==1.17.0 ; python_version > '3'"]


def test_what_is_lacking_is_told_in_the_words_of_the_declaration() -> None:
    request = read_request(packages=["python=3.12", "numpy<2"], pip_packages=["six>1"])
    contents = Contents(frozenset({PYTHON, NUMPY}), {"six": "1.0"})
    assert unmet(request, contents, channel_of=no_channel) == ["numpy<2", "pip: six>1"]


def test_a_package_from_another_channel_does_not_do() -> None:
    request = read_request(packages=["conda-forge::numpy"])
    contents = Contents(frozenset({NUMPY}))
    assert unmet(request, contents, channel_of=lambda _: "https://repo.anaconda.com/pkgs/main/linux-64")
    assert not unmet(request, contents, channel_of=lambda _: "https://conda.anaconda.org/conda-forge/noarch")


def test_what_only_pip_can_weigh_holds_as_long_as_its_outcome_stands() -> None:
    request = read_request(lock=LOCK, pip_lock=PIP_LOCK)
    contents = built(request, NUMPY, six="1.17.0")
    assert unmet(request, contents, channel_of=no_channel) == []
    gone = Contents(contents.packages, {}, contents.marker)
    assert unmet(request, gone, channel_of=no_channel) == ["pip: six==1.17.0 ; python_version > '3'"]


@pytest.mark.parametrize(("state", "drifted"), [("present", False), ("exact", True)])
def test_an_addition_is_drift_only_where_it_is_to_be_exact(state: str, drifted: bool) -> None:
    request = read_request(packages=["python"])
    contents = built(request, PYTHON)
    more = Contents(contents.packages | {NUMPY}, {}, contents.marker)
    reasons = drift(request, Before("link", "/x-1", more), state=state, channel_of=no_channel)
    assert bool(reasons) is drifted


def test_an_environment_without_its_marker_is_not_whole() -> None:
    before = Before("link", "/x-1", Contents(frozenset({PYTHON})))
    request = read_request(packages=["python"])
    assert drift(request, before, state="present", channel_of=no_channel) == ["its completion marker is missing"]


def test_what_people_added_is_kept_and_what_was_declared_once_is_not() -> None:
    contents = built(read_request(packages=["python", "scipy"]), PYTHON, NUMPY, six="1.17.0")
    kept = additions(
        read_request(packages=["python=3.12"]),
        contents,
        requested={"python": "python", "scipy": "scipy", "numpy": "numpy=2"},
        by_pip={"six": "1.17.0", "rich": "14.0"},
    )
    assert kept.packages == ("python=3.12", "numpy=2")
    assert kept.pip_packages == ("rich==14.0",)


def test_with_a_lock_nothing_is_added() -> None:
    request = read_request(lock=LOCK)
    assert additions(request, Contents(), requested={"x": "x"}, by_pip={"y": "1"}) == request


def test_a_requirement_that_holds_keeps_its_line() -> None:
    request = read_request(packages=["python"], pip_packages=["six", "rich>=14"])
    before = ["python-3.12.4-0", "pip: rich==13.0", "pip: six==1.17.0"]
    assert foreseen(request, before, {"six": "1.17.0", "rich": "13.0"}) == ["pip: six==1.17.0", "pip: rich>=14"]
