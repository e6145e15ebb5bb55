"""What a machine is, read from files of a tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils import _installed, _system


def tree(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(root)


@pytest.mark.parametrize(
    ("release", "family"),
    [
        ('ID=debian\nVERSION_ID="12"\n', "debian"),
        ('ID=ubuntu\nID_LIKE=debian\nVERSION_ID="24.04"\n', "debian"),
        ('ID="rocky"\nID_LIKE="rhel centos fedora"\nVERSION_ID="9.5"\n', "redhat"),
        ('ID=centos\nID_LIKE="rhel fedora"\nVERSION_ID="10"\n', "redhat"),
        ("ID=arch\n", "other"),
        ("", "other"),
    ],
)
def test_the_family_is_told_from_os_release(tmp_path, release, family):
    assert _system.read_system(root=tree(tmp_path, {"etc/os-release": release}))["family"] == family


def test_os_release_lines_that_make_no_sense_are_passed_over():
    text = '# comment\nNAME=\'Some "OS"\'\nBROKEN="unclosed\nJUST_A_WORD\nID=some\n'
    assert _system.parse_os_release(text) == {"NAME": 'Some "OS"', "ID": "some"}


def test_a_bare_tree_has_nothing_and_says_so(tmp_path):
    system = _system.read_system(root=str(tmp_path))
    assert (system["glibc"], system["gcc"], system["pythons"]) == (None, None, [])


def interpreter(root: Path, name: str, *, mode: int = 0o755) -> None:
    tree(root, {name: ""})
    (root / name).chmod(mode)


def interpreters(root: Path) -> list[str]:
    return [python["path"] for python in _system.read_system(root=str(root))["pythons"]]


def test_interpreters_are_told_oldest_first_and_without_their_config_scripts(tmp_path):
    for name in ("usr/bin/python3.9", "usr/bin/python3.11", "usr/bin/python3.11-config", "usr/local/bin/python3.13"):
        interpreter(tmp_path, name)
    assert _system.read_system(root=str(tmp_path))["pythons"] == [
        {"path": "/usr/bin/python3.9", "version": "3.9"},
        {"path": "/usr/bin/python3.11", "version": "3.11"},
        {"path": "/usr/local/bin/python3.13", "version": "3.13"},
    ]


def test_an_interpreter_that_a_link_leads_to_counts_where_all_users_may_go(tmp_path):
    interpreter(tmp_path, "opt/pythons/bin/python3.13")
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "usr" / "bin" / "python3.13").symlink_to("/opt/pythons/bin/python3.13")
    assert interpreters(tmp_path) == ["/usr/bin/python3.13"]
    (tmp_path / "opt" / "pythons").chmod(0o700)
    assert interpreters(tmp_path) == []


def test_an_interpreter_that_only_its_owner_may_run_does_not_hide_one_for_everybody(tmp_path):
    interpreter(tmp_path, "usr/local/bin/python3.12")
    interpreter(tmp_path, "usr/bin/python3.12", mode=0o700)
    (tmp_path / "usr" / "bin" / "python3.14").symlink_to("/nowhere/python3.14")
    assert interpreters(tmp_path) == ["/usr/local/bin/python3.12"]


def test_the_c_library_tells_its_version_itself(tmp_path):
    banner = "\x00GNU C Library (Ubuntu GLIBC 2.39-0ubuntu8.4) stable release version 2.39.\nCopyright"
    assert _system.read_system(root=tree(tmp_path, {"usr/lib64/libc.so.6": banner}))["glibc"] == "2.39"


def test_the_newest_compiler_counts_by_number_not_by_letter(tmp_path):
    files = ["usr/bin/gcc", "usr/lib/gcc/x86_64-linux-gnu/9/cc1", "usr/lib/gcc/x86_64-linux-gnu/12/cc1"]
    assert _system.read_system(root=tree(tmp_path, dict.fromkeys(files, "")))["gcc"] == "12"


def test_a_place_that_does_not_exist_yet_has_the_space_of_its_parent(tmp_path):
    free = _system.read_system(places=[str(tmp_path / "not" / "yet"), str(tmp_path)])["free_mib"]
    near, parent = free.values()
    assert near > 0
    assert abs(near - parent) < 1024


def test_a_place_that_cannot_be_written_is_told_also_where_it_does_not_exist_yet(tmp_path, monkeypatch):
    monkeypatch.setattr(_system.os, "access", lambda path, _mode: path != str(tmp_path))
    place = str(tmp_path / "not" / "yet")
    assert _system.read_system(places=[place, "/"])["unwritable"] == [place]


def others_may_change(path: Path, place: str) -> list[str]:
    return _system.read_system(root=str(path), places=[place])["others_may_change"][place]


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT CHECKED: only root can give folders away")
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o2775, 0o777])
def test_a_folder_on_the_way_that_others_may_write_is_told(tmp_path: Path, mode: int) -> None:
    (tmp_path / "data" / "gpulab").mkdir(parents=True)
    (tmp_path / "data").chmod(mode)
    for place in ("/data", "/data/not/yet", "/data/gpulab/envs/tensorflow"):
        assert others_may_change(tmp_path, place) == ["/data"], place
    assert others_may_change(tmp_path, "/other/data") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT CHECKED: only root can give folders away")
def test_a_sticky_folder_counts_as_long_as_nothing_of_roots_is_in_it_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "data" / "gpulab").mkdir(parents=True)
    (tmp_path / "data").chmod(0o1777)
    assert others_may_change(tmp_path, "/data/tensorflow") == ["/data"]
    assert others_may_change(tmp_path, "/data/gpulab/tensorflow") == []
    os.chown(tmp_path / "data" / "gpulab", 65534, 65534)
    assert others_may_change(tmp_path, "/data/gpulab/tensorflow") == ["/data/gpulab"]


@pytest.mark.skipif(os.geteuid() != 0, reason="NOT CHECKED: only root can give folders away")
def test_the_way_that_a_link_leads_counts_and_so_does_whose_the_link_is(tmp_path: Path) -> None:
    for folder in ("disk/lab/gpulab", "shared"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "disk").chmod(0o775)
    (tmp_path / "shared").chmod(0o1777)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "lab")
    assert others_may_change(Path("/"), f"{tmp_path}/link/tensorflow") == [f"{tmp_path}/disk"]
    (tmp_path / "shared" / "link").symlink_to(tmp_path)
    os.lchown(tmp_path / "shared" / "link", 65534, 65534)
    assert others_may_change(Path("/"), f"{tmp_path}/shared/link/new") == [f"{tmp_path}/shared/link"]


def test_dpkg_tells_installed_packages_only():
    lines = [
        "Package: a",
        "Status: install ok installed",
        "Version: 1",
        "",
        "Package: b",
        "Status: deinstall ok config-files",
    ]
    assert _installed.parse_dpkg_status([*lines, "Version: 2"], names=["a", "b", "c"]) == {"a": "1"}


def test_packages_on_hold_are_told_by_dpkg_and_by_dnfs_list_of_locks(tmp_path):
    status = (
        "Package: a\nStatus: hold ok installed\nVersion: 1\n\nPackage: b\nStatus: install ok installed\nVersion: 1\n"
    )
    debian = tree(tmp_path / "debian", {"var/lib/dpkg/status": status})
    assert _installed.held_packages(root=debian, names=["a", "b"]) == {"a"}
    locks = "# by hand\nnvidia-driver-cuda-3:580.95.05-1.el9.*\nother-0:1-1.*\n"
    el = tree(tmp_path / "el", {"etc/dnf/plugins/versionlock.list": locks})
    assert _installed.held_packages(root=el, names=["nvidia-driver", "nvidia-driver-cuda"]) == {"nvidia-driver-cuda"}
    assert _installed.held_packages(root=str(tmp_path), names=["a"]) == set()
