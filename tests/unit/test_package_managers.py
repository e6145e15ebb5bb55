"""apt and dnf: what they print is read right, and what they are told to do is one transaction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils import _package_managers
from ansible_collections.gpulab.workstation.plugins.module_utils._package_managers import (
    Apt,
    Dnf,
    package_manager,
    parse_dpkg_status,
    parse_made_for,
    parse_policy,
    parse_removals,
    patient,
)
from ansible_collections.gpulab.workstation.plugins.module_utils._package_set import PackageSet
from ansible_collections.gpulab.workstation.plugins.module_utils._packages import PackageError, Plan, Request

FIXTURES = Path(__file__).parents[1] / "fixtures" / "packages"
REQUEST = Request(
    name="nvidia-driver", choices=[["nvidia-smi"]], owned=["nvidia-*", "!nvidia-cuda-*"], anchor=["nvidia-smi"]
)


class Machine:
    """Answers commands by their first words, and remembers them."""

    def __init__(self, answers: Dict[str, Any]) -> None:
        self.answers = answers
        self.asked: List[str] = []

    def __call__(self, argv: Sequence[str]) -> Tuple[int, str, str]:
        line = " ".join(argv)
        self.asked.append(line)
        for words, answer in self.answers.items():
            if words in line:
                return answer if isinstance(answer, tuple) else (0, answer, "")
        return 0, "", ""


def _fixture(name: str) -> str:
    return (FIXTURES / f"{name}.txt").read_text()


def test_a_policy_lists_what_sources_offer_newest_first() -> None:
    available = parse_policy(_fixture("apt_cache_policy_two_versions"))
    assert available["nvidia-kernel-dkms"] == ["535.309.01-0+deb12u1", "535.261.03-1"]
    assert available["nvidia-open-kernel-dkms"] == ["535.261.03-1"]


def test_a_version_that_only_the_machine_has_or_a_pin_forbids_is_not_on_offer() -> None:
    text = (
        "nvidia-smi:\n  Installed: 1-1\n  Candidate: 1-1\n  Version table:\n"
        "     3-1 -1\n        500 http://nvidia.example  Packages\n"
        " *** 1-1 100\n        100 /var/lib/dpkg/status\n"
    )
    assert parse_policy(text) == {}


def test_for_which_driver_modules_were_compiled_is_read_from_their_dependencies() -> None:
    text = (
        "Package: modules\nVersion: 2\nProvides: prebuilt, nvidia-dkms-580 (= 580.178.04-0ubuntu1)\n\n"
        "Package: modules\nVersion: 1\nPre-Depends: linux-image\n"
        "Depends: linux-image-6.8 | linux-image-unsigned-6.8, nvidia-common-580 (<= 580.95.05-1),\n"
        " nvidia-common-580:any (>= 580.95.05), modules-6.8 (= 6.8.0-85.85)\n"
    )
    assert parse_made_for(text, owned=["nvidia-*"]) == {
        "modules": {"2": [("=", "580.178.04-0ubuntu1")], "1": [("<=", "580.95.05-1"), (">=", "580.95.05")]}
    }


def test_apt_asks_for_whom_modules_were_compiled_where_a_source_offers_them() -> None:
    request = Request(name="driver", choices=[["nvidia-smi", "modules-6.8", "modules-6.9"]], follows=["modules-*"])
    offer = "modules-6.8:\n  Version table:\n     1 500\n        500 http://mirror.example Packages\nmodules-6.9:\n"
    machine = Machine({"apt-cache policy": offer})
    Apt(run=machine).find(request)
    assert "apt-cache show modules-6.8" in machine.asked


def test_what_dpkg_left_half_way_is_told_from_what_is_installed_and_held() -> None:
    text = "ii \ta\t1\nhi \tb\t2\niF \tc\t3\nrc \td\t4\nun \te\t\niU \tf\t5\nit \tg\t6\n"
    installed, held, interrupted = parse_dpkg_status(text)
    assert installed == {"a": "1", "b": "2", "c": "3", "f": "5", "g": "6"}
    assert held == {"b"}
    assert interrupted == ["c", "f", "g"]


def test_a_package_whose_files_are_half_there_is_unpacked_again() -> None:
    """apt's --fix-broken passes it over."""
    status = "iHR\tnvidia-smi\t1\niF \tlibcuda1\t1\nii \tdkms\t3\n"
    machine = Machine({"dpkg-query": status})
    Apt(run=machine).repair()
    assert machine.asked[-1].endswith(" --reinstall install nvidia-smi")


def test_what_is_finished_may_be_forbidden_to_remove_anything() -> None:
    machine = Machine({"dpkg-query": "iHR\tnvidia-smi\t1\n"})
    Apt(run=machine).repair("--no-remove")
    assert all("--no-remove" in asked for asked in machine.asked if asked.startswith("apt-get"))


def test_a_dpkg_that_another_keeps_locked_is_not_waited_for_again_by_apt() -> None:
    asked = []

    def locked(argv: Sequence[str]) -> Tuple[int, str, str]:
        asked.append(argv[0])
        return 2, "", "dpkg: error: dpkg frontend lock was locked by another process with pid 41\n"

    with pytest.raises(PackageError, match="process 41 holds the dpkg frontend lock"):
        Apt(run=locked).repair()
    assert asked == ["dpkg"]


def test_nothing_is_unpacked_again_that_was_only_to_be_configured() -> None:
    machine = Machine({"dpkg-query": "iF \tlibcuda1\t1\nii \tdkms\t3\n"})
    Apt(run=machine).repair()
    assert not any("--reinstall" in asked for asked in machine.asked)


def test_a_real_debian_machine_has_its_driver_held() -> None:
    installed, held, interrupted = parse_dpkg_status(_fixture("dpkg_query_debian_12_driver"))
    assert installed["nvidia-smi"] == "535.261.03-1"
    assert {"nvidia-smi", "libnvidia-ml1", "nvidia-kernel-dkms"} <= held
    assert "dkms" not in held
    assert interrupted == []


LOCKED = [
    # What apt prints of the lists, for which it does not wait by itself, dnf with exit_on_lock, and dpkg.
    (100, "", "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 41 (apt-get)\n"),
    (200, "", "Metadata cache already locked by 41\n  The application with PID 41 is: dnf\n"),
    (2, "", "dpkg: error: dpkg frontend lock was locked by another process with pid 41\nNote: removing the lock …\n"),
]


@pytest.mark.parametrize("locked", LOCKED)
def test_what_another_holds_the_lock_for_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, locked: Tuple[int, str, str]
) -> None:
    answers = [locked, locked, (0, "done", "")]
    waited: List[float] = []
    monkeypatch.setattr(_package_managers.time, "sleep", waited.append)
    assert patient(lambda argv: answers.pop(0))(["apt-get", "update"]) == (0, "done", "")
    assert len(waited) == 2


@pytest.mark.parametrize("locked", LOCKED)
def test_a_lock_that_is_never_let_go_is_named_with_who_holds_it(
    monkeypatch: pytest.MonkeyPatch, locked: Tuple[int, str, str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(_package_managers.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(_package_managers.time, "sleep", lambda seconds: clock.append(clock.pop() + seconds))
    with pytest.raises(PackageError, match=r"Another package manager is at work: process 41 (\((apt-get|dnf)\)|holds)"):
        Apt(run=patient(lambda argv: locked)).refresh()
    assert clock[0] >= _package_managers.LOCK_TIMEOUT


def test_nothing_else_is_tried_again() -> None:
    answers = [(100, "", "E: Unable to locate package x"), (0, "", "")]
    assert patient(lambda argv: answers.pop(0))(["apt-get", "install", "x"])[0] == 100


def test_apt_does_a_change_in_one_transaction_after_a_look_at_it() -> None:
    machine = Machine({"--simulate": "Inst nvidia-smi\nRemv nvidia-old [1]\n"})
    Apt(run=machine).apply(request=REQUEST, plan=Plan(install={"nvidia-smi": "2-1"}, remove=["nvidia-old"]))
    assert [line.endswith("install nvidia-smi=2-1 nvidia-old-") for line in machine.asked] == [True, True]


def test_apt_never_removes_what_is_not_part_of_the_set() -> None:
    machine = Machine({"--simulate": "Remv gnome-shell [43]\nRemv nvidia-old [1]\n"})
    with pytest.raises(PackageError, match="also remove gnome-shell, which"):
        Apt(run=machine).apply(request=REQUEST, plan=Plan(install={"nvidia-smi": "2-1"}))
    assert len(machine.asked) == 1


def test_apt_pins_the_version_and_keeps_unattended_upgrades_away() -> None:
    files = Apt(run=Machine({})).files(request=REQUEST, plan=Plan(version="535.261.03"), hold=True)
    pin, blacklist = files.values()
    assert pin is not None and "Package: nvidia-*\nPin: version 535.261.03-*\nPin-Priority: 1001\n" in pin
    assert blacklist is not None and '"^nvidia-.*$";' in blacklist


def test_a_set_that_owns_nothing_is_neither_pinned_nor_kept_from_upgrades() -> None:
    request = Request(name="compiler", choices=[["gcc"]], anchor=["gcc"])
    files = Apt(run=Machine({})).files(request=request, plan=Plan(version="12.2.0"), hold=True)
    assert set(files.values()) == {None}


def test_a_package_manager_is_chosen_by_the_family() -> None:
    assert isinstance(package_manager(family="debian", run=Machine({})), Apt)
    assert isinstance(package_manager(family="redhat", run=Machine({})), Dnf)
    with pytest.raises(PackageError):
        package_manager(family="other", run=Machine({}))


def test_dnf_locks_name_version_and_epoch_and_leaves_other_locks(tmp_path: Path) -> None:
    locks = tmp_path / "etc/dnf/plugins/versionlock.list"
    locks.parent.mkdir(parents=True)
    locks.write_text("kernel-0:5.14.0-570.el9.*\nnvidia-driver-3:570.1-1.el9.*\n")
    machine = Machine({"rpm -q": "nvidia-driver\t3:580.95.05-1.el9\n"})
    Dnf(run=machine, root=str(tmp_path)).hold(["nvidia-driver"])
    assert locks.read_text() == "kernel-0:5.14.0-570.el9.*\nnvidia-driver-3:580.95.05-1.el9.*\n"
    Dnf(run=machine, root=str(tmp_path)).release(["nvidia-driver"])
    assert locks.read_text() == "kernel-0:5.14.0-570.el9.*\n"


def test_dnf_tells_the_stream_that_is_enabled(tmp_path: Path) -> None:
    state = tmp_path / "etc/dnf/modules.d/nvidia-driver.module"
    request = Request(name="x", choices=[["nvidia-driver"]], stream="nvidia-driver:580-open")
    dnf = Dnf(run=Machine({}), root=str(tmp_path))
    assert dnf.find(request).stream == "nvidia-driver:"
    state.parent.mkdir(parents=True)
    state.write_text("[nvidia-driver]\nname=nvidia-driver\nstream=580-open\nprofiles=\nstate=enabled\n")
    assert dnf.find(request).stream == "nvidia-driver:580-open"


DNF_TABLE = """\
Dependencies resolved.
================================================================================
 Package                   Arch     Version               Repository       Size
================================================================================
Upgrading:
 nvidia-driver-cuda        x86_64   3:580.105.08-1.el9    gpulab-nvidia   5.7 k
Installing dependencies:
 dkms                      x86_64   9.1-1                 el              6.0 k
     replacing  dkms-old.x86_64 1-1
Removing dependent packages:
 standin-dependent         x86_64   1.0-1                 @el               0
 a-package-whose-name-is-longer-than-its-column
                           x86_64   1.0-1                 @el               0

Transaction Summary
================================================================================
Remove   2 Packages

Operation aborted.
"""


def test_what_dnf_would_remove_is_read_from_its_table() -> None:
    assert parse_removals(DNF_TABLE) == ["standin-dependent", "a-package-whose-name-is-longer-than-its-column"]


def test_dnf_never_removes_what_is_not_part_of_the_set() -> None:
    machine = Machine({"--assumeno": (1, DNF_TABLE, "")})
    with pytest.raises(PackageError, match="also remove standin-dependent, a-package"):
        Dnf(run=machine).apply(request=REQUEST, plan=Plan(install={"nvidia-smi": "3:2-1"}))
    assert len(machine.asked) == 1


def test_dnf_is_not_told_to_exclude_what_it_is_to_erase() -> None:
    machine = Machine({"rpm -qa": "nvidia-smi\t3:2-1\n"})
    plan = Plan(install={"nvidia-smi": "3:2-1"}, remove=["nvidia-old"])
    Dnf(run=machine).apply(request=REQUEST, plan=plan)
    changes = [line for line in machine.asked if " install " in line]
    assert len(changes) == 2 and not any("--exclude" in line for line in changes)


def test_dnf_enables_a_stream_when_all_is_well_and_goes_back_to_the_old_one_when_it_is_not(tmp_path: Path) -> None:
    machine = Machine({" module ": "", "--assumeno": "", "--allowerasing": (1, "", "GPG check FAILED")})
    state = tmp_path / "etc/dnf/modules.d/nvidia-driver.module"
    state.parent.mkdir(parents=True)
    state.write_text("[nvidia-driver]\nstream=580-open\nstate=enabled\n")
    request = Request(**{**REQUEST.__dict__, "stream": "nvidia-driver:595-open"})
    with pytest.raises(PackageError, match="so nothing was installed"):
        Dnf(run=machine, root=str(tmp_path)).apply(request=request, plan=Plan(install={"nvidia-smi": "3:2-1"}))
    enabled = [line.split()[-1] for line in machine.asked if " module enable " in line]
    assert enabled == ["nvidia-driver:595-open", "nvidia-driver:580-open"]


def test_a_dnf_that_was_killed_is_told_by_what_is_there_twice_and_both_are_taken_away() -> None:
    machine = Machine({"rpm -qa": "nvidia-smi\t3:1-1\nnvidia-smi\t3:2-1\nkernel\t0:1-1\nkernel\t0:2-1\n"})
    dnf = Dnf(run=machine)
    assert dnf.find(REQUEST).interrupted == ["nvidia-smi"]
    dnf.repair()
    assert machine.asked[-1] == "rpm --erase --nodeps --allmatches nvidia-smi"


def test_locks_go_with_their_packages(tmp_path: Path) -> None:
    locks = tmp_path / "etc/dnf/plugins/versionlock.list"
    locks.parent.mkdir(parents=True)
    locks.write_text("nvidia-smi-3:1-1.*\nother-0:1-1.*\n")
    machine = Machine({"rpm -qa": "nvidia-smi\t3:1-1\n"})
    Dnf(run=machine, root=str(tmp_path)).apply(request=REQUEST, plan=Plan(remove=["nvidia-smi"]))
    assert locks.read_text() == "other-0:1-1.*\n"


def test_a_set_that_dnf_is_to_hold_brings_what_reads_the_locks(tmp_path: Path) -> None:
    machine = Machine({"repoquery": "nvidia-smi\t3:1-1\npython3-dnf-plugin-versionlock\t0:4-1\n"})
    package_set = PackageSet(manager=Dnf(run=machine, root=str(tmp_path)), request=REQUEST, root=str(tmp_path))
    assert "python3-dnf-plugin-versionlock" in package_set.ensure(state="present", hold=True, check=True).plan.install


def test_a_command_that_was_killed_is_said_to_have_been() -> None:
    with pytest.raises(PackageError, match="was killed"):
        Dnf(run=lambda argv: (-9, "", "")).refresh()


# The whole of a change, on a machine whose apt does as it is told.


class Debian(Machine):
    """An apt machine whose packages change when it is told so."""

    def __init__(self, offered: Dict[str, List[str]]) -> None:
        super().__init__({})
        self.installed: Dict[str, str] = {}
        self.held: set[str] = set()
        self.offered = offered
        self.breaks = False

    def __call__(self, argv: Sequence[str]) -> Tuple[int, str, str]:
        self.asked.append(" ".join(argv))
        words = list(argv)
        if words[0] == "dpkg-query":
            mark = {True: "h", False: "i"}
            lines = [f"{mark[name in self.held]}i \t{name}\t{version}" for name, version in self.installed.items()]
            return 0, "\n".join(lines), ""
        if words[:2] == ["apt-cache", "policy"]:
            return 0, "".join(self._policy(name) for name in words[2:]), ""
        if words[:2] == ["apt-mark", "hold"]:
            self.held |= set(words[2:])
        if "install" in words and "--simulate" not in words:
            if self.breaks:
                return 100, "", "E: Sub-process /usr/bin/dpkg returned an error code (1)"
            for word in words[words.index("install") + 1 :]:
                name, equals, version = word.partition("=")
                if equals:
                    self.installed[name] = version
                else:
                    del self.installed[word.rstrip("-")]
        return 0, "", ""

    def _policy(self, name: str) -> str:
        versions = "".join(
            f"     {v} 500\n        500 http://mirror.example Packages\n" for v in self.offered.get(name, [])
        )
        return f"{name}:\n  Version table:\n{versions}"


@pytest.fixture()
def debian() -> Debian:
    return Debian({"nvidia-smi": ["2-1", "1-1"]})


def _set(machine: Debian, root: Path, release: str = "") -> PackageSet:
    (root / "var/lib/apt/lists").mkdir(parents=True, exist_ok=True)
    request = Request(**{**REQUEST.__dict__, "release": release})
    return PackageSet(manager=Apt(run=machine, root=str(root)), request=request, root=str(root))


def test_a_set_is_installed_held_and_then_left_alone(debian: Debian, tmp_path: Path) -> None:
    first = _set(debian, tmp_path).ensure(state="present", hold=True, check=False)
    assert (first.changed, first.after, debian.held) == (True, {"nvidia-smi": "2-1"}, {"nvidia-smi"})
    debian.asked.clear()
    assert not _set(debian, tmp_path).ensure(state="present", hold=True, check=False).changed
    assert [line.split()[0] for line in debian.asked] == ["dpkg-query", "apt-cache"], "no network, no transaction"


def test_check_mode_says_what_the_real_run_does_and_does_nothing(debian: Debian, tmp_path: Path) -> None:
    predicted = _set(debian, tmp_path).ensure(state="present", hold=True, check=True)
    assert debian.installed == {} and not (tmp_path / "etc").exists()
    real = _set(debian, tmp_path).ensure(state="present", hold=True, check=False)
    assert (predicted.changed, predicted.after) == (real.changed, real.after)


def test_a_hold_that_somebody_took_off_comes_back(debian: Debian, tmp_path: Path) -> None:
    _set(debian, tmp_path).ensure(state="present", hold=True, check=False)
    debian.held.clear()
    assert _set(debian, tmp_path).ensure(state="present", hold=True, check=False).changed
    assert debian.held == {"nvidia-smi"}


def test_the_set_before_comes_back(debian: Debian, tmp_path: Path) -> None:
    _set(debian, tmp_path, "1").ensure(state="present", hold=True, check=False)
    _set(debian, tmp_path, "2").ensure(state="present", hold=True, check=False)
    back = _set(debian, tmp_path).ensure(state="previous", hold=True, check=False)
    assert (back.plan.version, debian.installed) == ("1", {"nvidia-smi": "1-1"})


def test_a_set_before_that_had_other_names_comes_back(debian: Debian, tmp_path: Path) -> None:
    """As a driver of Ubuntu has, whose branch is in the names of its packages."""
    names = {"nvidia-utils-570": "570-1", "nvidia-utils-580": "580-1"}
    debian.offered = {name: [version] for name, version in names.items()}

    def branch(number: str) -> PackageSet:
        name, others = f"nvidia-utils-{number}", ["nvidia-utils-*", f"!nvidia-utils-{number}"]
        return PackageSet(
            manager=Apt(run=debian, root=str(tmp_path)),
            request=replace(REQUEST, choices=[[name]] if number else [], absent=others if number else []),
            root=str(tmp_path),
        )

    (tmp_path / "var/lib/apt/lists").mkdir(parents=True)
    for number in ("570", "580"):
        branch(number).ensure(state="present", hold=True, check=False)
    assert debian.installed == {"nvidia-utils-580": "580-1"}
    branch("").ensure(state="previous", hold=True, check=False)
    assert debian.installed == {"nvidia-utils-570": "570-1"}


def test_what_was_removed_is_not_what_the_next_set_replaced(debian: Debian, tmp_path: Path) -> None:
    _set(debian, tmp_path, "1").ensure(state="present", hold=True, check=False)
    _set(debian, tmp_path).ensure(state="absent", hold=True, check=False)
    after = _set(debian, tmp_path, "2")
    after.ensure(state="present", hold=True, check=False)
    assert after.replaced() == {}
    back = _set(debian, tmp_path).ensure(state="previous", hold=True, check=False)
    assert back.plan.version == "1", "it can come back"
    assert after.replaced() == {"nvidia-smi": "2-1"}


def test_headers_that_join_a_set_leave_its_way_back(debian: Debian, tmp_path: Path) -> None:
    debian.offered["linux-headers-6.1"] = ["6.1-1"]
    for release in ("1", "2"):
        _set(debian, tmp_path, release).ensure(state="present", hold=True, check=False)
    joined = replace(REQUEST, choices=[["nvidia-smi", "linux-headers-6.1"]])
    more = PackageSet(manager=Apt(run=debian, root=str(tmp_path)), request=joined, root=str(tmp_path))
    more.ensure(state="present", hold=True, check=False)
    assert (debian.installed["linux-headers-6.1"], more.replaced()) == ("6.1-1", {"nvidia-smi": "1-1"})


def test_without_a_set_before_there_is_no_way_back(debian: Debian, tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="no previous version"):
        _set(debian, tmp_path).ensure(state="previous", hold=True, check=False)


def test_a_transaction_that_fails_leaves_the_pins_of_the_old_version(debian: Debian, tmp_path: Path) -> None:
    _set(debian, tmp_path, "1").ensure(state="present", hold=True, check=False)
    debian.breaks = True
    with pytest.raises(PackageError, match="it goes on where it stopped"):
        _set(debian, tmp_path, "2").ensure(state="present", hold=True, check=False)
    assert "version 1-*" in (tmp_path / "etc/apt/preferences.d/gpulab-nvidia-driver.pref").read_text()


def test_a_transaction_that_never_began_is_nothing_to_go_back_from(debian: Debian, tmp_path: Path) -> None:
    _set(debian, tmp_path, "1").ensure(state="present", hold=True, check=False)
    _set(debian, tmp_path, "2").ensure(state="present", hold=True, check=False)
    debian.offered["nvidia-smi"].insert(0, "3-1")
    debian.breaks = True
    with pytest.raises(PackageError):
        _set(debian, tmp_path, "3").ensure(state="present", hold=True, check=False)
    debian.breaks = False
    assert _set(debian, tmp_path).ensure(state="previous", hold=True, check=False).plan.version == "1"


def test_removal_takes_pins_and_exclusions_along(debian: Debian, tmp_path: Path) -> None:
    _set(debian, tmp_path).ensure(state="present", hold=True, check=False)
    gone = _set(debian, tmp_path).ensure(state="absent", hold=True, check=False)
    assert (gone.changed, debian.installed) == (True, {})
    assert [path for path in (tmp_path / "etc").rglob("*") if path.is_file()] == []
    assert not _set(debian, tmp_path).ensure(state="absent", hold=True, check=False).changed
