"""A set of packages that must be of one version: which transaction gets it there."""

from __future__ import annotations

from typing import Any, Dict, List

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils._packages import (
    Found,
    PackageError,
    Plan,
    Request,
    in_release,
    matches,
    newest_first,
    plan_absent,
    plan_present,
    plan_previous,
    upstream,
)
from hypothesis import given
from hypothesis import strategies as st

OFFERED = {
    "driver-dkms": ["535.309.01-0+deb12u1", "535.261.03-1"],
    "driver-smi": ["535.309.01-0+deb12u1", "535.261.03-1"],
    "driver-persistenced": ["535.171.04-1"],
    "headers": ["6.1.192-2"],
}


def _request(**changes: Any) -> Request:
    fields: Dict[str, Any] = {
        "name": "driver",
        "choices": [["driver-dkms", "driver-smi", "driver-persistenced", "headers"]],
        "owned": ["driver-*"],
        "anchor": ["driver-dkms"],
        "release": "535",
    }
    return Request(**{**fields, **changes})


def _installed(version: str) -> Dict[str, str]:
    return {
        "driver-dkms": version,
        "driver-smi": version,
        "driver-lib": version,
        "driver-persistenced": "535.171.04-1",
        "headers": "6.1.192-2",
        "bash": "5.2",
    }


def test_a_bare_machine_gets_the_newest_of_the_branch() -> None:
    plan = plan_present(request=_request(), found=Found(installed={}, available=OFFERED))
    assert plan.version == "535.309.01"
    assert plan.install["driver-smi"] == "535.309.01-0+deb12u1"
    assert plan.install["driver-persistenced"] == "535.171.04-1", "a package with versions of its own keeps them"


def test_an_exact_version_is_taken_for_every_package_that_has_it() -> None:
    plan = plan_present(request=_request(release="535.261.03"), found=Found(installed={}, available=OFFERED))
    assert (plan.install["driver-dkms"], plan.install["driver-smi"]) == ("535.261.03-1", "535.261.03-1")


def test_a_driver_that_fits_is_left_alone_though_a_newer_one_is_offered() -> None:
    plan = plan_present(request=_request(), found=Found(installed=_installed("535.261.03-1"), available=OFFERED))
    assert plan.version == "535.261.03"
    assert not plan.transaction


@pytest.mark.parametrize(
    ("here", "wanted"),
    [("535.261.03-1", "535.309.01"), ("535.309.01-0+deb12u1", "535.261.03")],
    ids=["upgrade", "downgrade"],
)
def test_a_change_of_version_takes_the_dependencies_along(here: str, wanted: str) -> None:
    offered = {**OFFERED, "driver-lib": OFFERED["driver-smi"]}
    plan = plan_present(request=_request(release=wanted), found=Found(installed=_installed(here), available=offered))
    assert set(plan.install) == {"driver-dkms", "driver-smi", "driver-lib"}
    assert {upstream(version) for version in plan.install.values()} == {wanted}
    assert plan.remove == []


def test_what_no_source_offers_any_more_is_removed_with_the_change() -> None:
    found = Found(installed={**_installed("535.261.03-1"), "driver-lib": "590.1-1"}, available=OFFERED)
    assert plan_present(request=_request(), found=found).remove == ["driver-lib"]


def test_the_other_flavour_goes_in_the_same_transaction() -> None:
    found = Found(
        installed={"driver-open-dkms": "535.261.03-1"}, available={**OFFERED, "driver-open-dkms": ["535.261.03-1"]}
    )
    plan = plan_present(request=_request(absent=["driver-open-dkms"]), found=found)
    assert plan.remove == ["driver-open-dkms"]
    assert "driver-dkms" in plan.install


def test_the_first_choice_that_is_whole_is_taken() -> None:
    request = _request(choices=[["driver-dkms", "precompiled"], ["driver-dkms", "headers"]])
    assert set(plan_present(request=request, found=Found(installed={}, available=OFFERED)).install) == {
        "driver-dkms",
        "headers",
    }
    offered = {**OFFERED, "precompiled": ["6.1"]}
    assert "precompiled" in plan_present(request=request, found=Found(installed={}, available=offered)).install


def test_a_release_that_nobody_offers_is_refused_with_what_is_offered() -> None:
    with pytest.raises(PackageError, match=r"driver-dkms 580\. It offers: 535\.309\.01, 535\.261\.03\."):
        plan_present(request=_request(release="580"), found=Found(installed={}, available=OFFERED))


def test_a_package_that_nobody_offers_is_refused_by_name() -> None:
    with pytest.raises(PackageError, match="offers no-such-package"):
        plan_present(request=_request(choices=[["no-such-package"]]), found=Found(installed={}, available={}))


def test_packages_are_expected_to_be_unknown_while_their_source_is_yet_to_come() -> None:
    plan = plan_present(request=_request(), found=Found(installed={}, available={}), sources_pending=True)
    assert plan.transaction
    assert plan.unknown == ["driver-dkms", "driver-smi", "driver-persistenced", "headers"]
    assert plan.version == "535"


def test_removal_takes_the_whole_set_and_what_follows_the_kernel_and_nothing_else() -> None:
    found = Found(installed={**_installed("535.261.03-1"), "linux-modules-driver-6.1": "6.1"}, available={})
    plan = plan_absent(request=_request(follows=["linux-modules-driver-*"]), found=found)
    assert plan.remove == ["driver-dkms", "driver-lib", "driver-persistenced", "driver-smi", "linux-modules-driver-6.1"]


def test_the_way_back_restores_versions_and_removes_what_came_with_the_new_one() -> None:
    found = Found(installed={**_installed("535.309.01-0"), "driver-new": "535.309.01-0"}, available=OFFERED)
    previous = {"driver-dkms": "535.261.03-1", "driver-smi": "535.261.03-1"}
    plan = plan_previous(previous=previous, request=_request(), found=found)
    assert plan.install == previous
    assert plan.remove == ["driver-lib", "driver-new", "driver-persistenced"]
    assert plan.version == "535.261.03"


def test_the_way_back_is_refused_when_the_old_packages_are_gone() -> None:
    found = Found(installed=_installed("535.309.01-0"), available={})
    with pytest.raises(PackageError, match=r"driver-dkms 535\.1-1"):
        plan_previous(previous={"driver-dkms": "535.1-1"}, request=_request(), found=found)


@pytest.mark.parametrize(
    ("version", "release", "expected"),
    [
        ("580.178.04-0ubuntu0.24.04.1", "580", True),
        ("580.178.04-0ubuntu0.24.04.1", "580.178.04", True),
        ("580.178.04-0ubuntu0.24.04.1", "58", False),
        ("3:580.95.05-1.el9", "580.95.05", True),
        ("5800.1-1", "580", False),
        ("580.178.04-1", "", True),
    ],
)
def test_a_version_belongs_to_a_release_by_whole_numbers(version: str, release: str, expected: bool) -> None:
    assert in_release(version, release) is expected


def test_versions_are_compared_as_numbers() -> None:
    assert newest_first(["0:9.1-1", "0:10.0-1", "1:1.0-1", "0:10.0~rc1-1"]) == [
        "1:1.0-1",
        "0:10.0-1",
        "0:10.0~rc1-1",
        "0:9.1-1",
    ]


def test_the_last_glob_that_fits_decides() -> None:
    globs = ["nvidia-*", "!nvidia-cuda-*", "nvidia-cuda-mps"]
    assert [matches(n, globs) for n in ("nvidia-smi", "nvidia-cuda-toolkit", "nvidia-cuda-mps", "bash")] == [
        True,
        False,
        True,
        False,
    ]


@given(st.sampled_from(["535", "535.261.03", "535.309.01"]), st.sampled_from([None, *OFFERED["driver-dkms"]]))
def test_a_carried_out_plan_leaves_nothing_to_do(release: str, here: str) -> None:
    installed = dict(_installed(here)) if here else {}
    offered = {**OFFERED, "driver-lib": OFFERED["driver-smi"]}
    plan = plan_present(request=_request(release=release), found=Found(installed=installed, available=offered))
    after = {n: v for n, v in {**installed, **plan.install}.items() if n not in plan.remove}
    assert not plan_present(
        request=_request(release=release), found=Found(installed=after, available=offered)
    ).transaction
    versions: List[str] = [upstream(after[n]) for n in after if n.startswith("driver-") and n != "driver-persistenced"]
    assert len(set(versions)) == 1, "never two versions side by side"


def test_headers_are_those_of_their_kernel_and_not_the_newest() -> None:
    offered = {**OFFERED, "headers": ["0:6.1.200-1", "0:6.1.192-2"]}
    request = _request(exact={"headers": "6.1.192-2"})
    assert (
        plan_present(request=request, found=Found(installed={}, available=offered)).install["headers"] == "0:6.1.192-2"
    )


def test_headers_that_no_source_has_any_more_are_said_to_be_missing() -> None:
    found = Found(installed={}, available={**OFFERED, "headers": ["0:6.1.200-1"]})
    with pytest.raises(PackageError, match="offers headers 6\\.1"):
        plan_present(request=_request(exact={"headers": "6.1.192-2"}), found=found)


# Modules that a distribution compiled: of the kernel's version, and made for one version of the driver.
MODULES = {**OFFERED, "modules-6.8": ["6.8.0-85.85+1", "6.8.0-85.85"]}
MADE_FOR = {
    "modules-6.8": {
        "6.8.0-85.85+1": [("=", "535.309.01-1")],
        "6.8.0-85.85": [("<=", "535.261.03-1"), (">=", "535.261.03")],
    }
}
COMPILED = ["driver-smi", "modules-6.8"]
BUILT_HERE = ["driver-smi", "headers"]


def _modules_plan(release: str, installed: Dict[str, str], offered: Dict[str, List[str]]) -> Dict[str, str]:
    request = _request(choices=[COMPILED, BUILT_HERE], anchor=["driver-smi"], release=release, follows=["modules-*"])
    return plan_present(request=request, found=Found(installed=installed, available=offered, made_for=MADE_FOR)).install


@pytest.mark.parametrize(
    ("release", "modules"),
    [("535.261.03", "6.8.0-85.85"), ("535.309.01", "6.8.0-85.85+1"), ("535", "6.8.0-85.85+1")],
)
@pytest.mark.parametrize("here", ["", "6.8.0-85.85", "6.8.0-85.85+1"])
def test_compiled_modules_are_those_made_for_the_driver(here: str, release: str, modules: str) -> None:
    plan = _modules_plan(release, {"modules-6.8": here} if here else {}, MODULES)
    assert plan.get("modules-6.8", here) == modules


def test_modules_are_built_here_where_none_is_made_for_the_driver() -> None:
    offered = {**MODULES, "modules-6.8": ["6.8.0-85.85+1"]}
    assert set(_modules_plan("535.261.03", {}, offered)) == set(BUILT_HERE)


def test_modules_that_are_here_stay_with_their_driver_though_no_source_has_them_any_more() -> None:
    offered = {"driver-smi": ["535.309.01-0+deb12u1"], "modules-6.8": ["6.8.0-85.85+1"]}
    assert not _modules_plan("535", {"driver-smi": "535.261.03-1", "modules-6.8": "6.8.0-85.85"}, offered)


# A driver with precompiled modules whose archive has gone on, on a machine that has gone on to the next kernel.
OLD, NEW = "580.95.05-0ubuntu0.24.04.1", "580.178.04-0ubuntu0.24.04.1"
UTILS, DKMS = "nvidia-utils-580", "nvidia-dkms-580-open"
NEXT_MODULES, NEXT_HEADERS = "linux-modules-nvidia-580-open-6.8.0-90-generic", "linux-headers-6.8.0-90-generic"
ARCHIVE = {
    UTILS: [NEW],
    DKMS: [NEW],
    NEXT_MODULES: ["6.8.0-90.91"],
    NEXT_HEADERS: ["6.8.0-90.91"],
    "nvidia-modprobe": ["570.86.16-1"],
}
HERE = {UTILS: OLD, "linux-modules-nvidia-580-open-6.8.0-85-generic": "6.8.0-85.85", "nvidia-modprobe": "570.86.16-1"}
FOR_THE_NEW = {NEXT_MODULES: {"6.8.0-90.91": [("<=", "580.178.04-1"), (">=", "580.178.04")]}}


def _next_kernel_plan(release: str, offered: Dict[str, List[str]], **changes: Any) -> Plan:
    choices = [[UTILS, "nvidia-modprobe", NEXT_MODULES], [UTILS, "nvidia-modprobe", DKMS, NEXT_HEADERS]]
    request = Request(
        name="driver", choices=choices, owned=["nvidia-*"], follows=["linux-*"], anchor=[UTILS], release=release
    )
    found = Found(installed=HERE, available=offered, made_for=FOR_THE_NEW)
    return plan_present(request=request, found=found, **changes)


def test_a_driver_moves_on_where_nothing_of_its_version_serves_the_kernel() -> None:
    plan = _next_kernel_plan("580", ARCHIVE)
    assert plan.version == "580.178.04"
    assert plan.install == {UTILS: NEW, NEXT_MODULES: "6.8.0-90.91"}


def test_a_driver_stays_where_modules_of_its_version_can_be_built() -> None:
    plan = _next_kernel_plan("580", {**ARCHIVE, DKMS: [NEW, OLD]})
    assert plan.version == "580.95.05"
    assert plan.install == {DKMS: OLD, NEXT_HEADERS: "6.8.0-90.91"}


def test_a_version_that_was_named_and_cannot_serve_the_kernel_is_refused_with_the_one_that_can() -> None:
    with pytest.raises(PackageError, match=rf"offers {DKMS} 580\.95\.05\..* 580\.178\.04"):
        _next_kernel_plan("580.95.05", ARCHIVE)


def test_no_other_version_is_proposed_where_none_is_whole() -> None:
    compiled_for_another = {UTILS: [OLD], NEXT_MODULES: ["6.8.0-90.91"], "nvidia-modprobe": ["570.86.16-1"]}
    with pytest.raises(PackageError, match=rf"offers {NEXT_MODULES} 580\.95\.05\.$"):
        _next_kernel_plan("580", compiled_for_another)


def test_what_is_added_to_a_driver_is_never_of_another_version() -> None:
    found = Found(installed={UTILS: OLD}, available={UTILS: [NEW], "nvidia-driver-580-open": [NEW]})
    request = Request(
        name="driver", choices=[[UTILS, "nvidia-driver-580-open"]], owned=["nvidia-*"], anchor=[UTILS], release="580"
    )
    assert plan_present(request=request, found=found).install == {UTILS: NEW, "nvidia-driver-580-open": NEW}


def test_a_source_that_is_yet_to_come_may_have_what_the_others_have_not() -> None:
    assert DKMS in _next_kernel_plan("580.95.05", ARCHIVE, sources_pending=True).unknown


def test_what_has_a_rhythm_of_its_own_need_not_have_every_version_of_the_driver() -> None:
    new, old = "535.309.01-0+deb12u1", "535.261.03-1"
    found = Found(installed={}, available={"nvidia-driver": [new, old], "nvidia-modprobe": ["535.309.01-1~deb12u1"]})
    request = Request(
        name="driver",
        choices=[["nvidia-driver", "nvidia-modprobe"]],
        owned=["nvidia-*"],
        anchor=["nvidia-driver"],
        release="535.261.03",
    )
    assert plan_present(request=request, found=found).install == {
        "nvidia-driver": old,
        "nvidia-modprobe": "535.309.01-1~deb12u1",
    }
