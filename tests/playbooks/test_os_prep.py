"""What os_prep says in check mode on a machine whose apt has nothing to look in yet."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
BASE = ("build-essential", "ca-certificates", "kmod", "pciutils", "python3-venv")

pytestmark = pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode != 0,
    reason="NOT CHECKED: a bare machine can be shown only where mounts are allowed",
)


def check(
    tmp_path: Path,
    *,
    installed: Sequence[str],
    lists: Sequence[str] = (),
    systemd: Mapping[str, str] | None = None,
    **inputs: object,
) -> str:
    """Run the role in check mode on this machine, with these packages and no others, and these package lists.

    ``systemd`` is what the stand-in for systemctl says of the time service; without it the machine has no systemd.
    """
    facts = {"service_mgr": "systemd" if systemd is not None else "init", "virtualization_role": "host"}
    look = [
        {"ansible.builtin.setup": {"gather_subset": ["!all", "!min", "distribution", "kernel", "pkg_mgr", "virtual"]}},
        {"ansible.builtin.set_fact": {**facts, "cacheable": True}},
    ]
    play = {"hosts": "workstations", "gather_facts": False, "roles": ["gpulab.workstation.os_prep"], "pre_tasks": look}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    (tmp_path / "status").write_text(
        "".join(
            f"Package: {name}\nStatus: install ok installed\nArchitecture: all\nVersion: 1\nMaintainer: x\n"
            f"Description: x\n\n"
            for name in installed
        )
    )
    (tmp_path / "archive_Packages").write_text(
        "".join(
            f"Package: {name}\nArchitecture: all\nVersion: 1\nFilename: ./{name}.deb\nSize: 1\nDescription: x\n\n"
            for name in lists
        )
    )
    (tmp_path / "sources.list").write_text("deb [trusted=yes] file:/archive ./\n")
    machine = [
        "mount -t tmpfs none /var/lib/dpkg && mkdir /var/lib/dpkg/updates /var/lib/dpkg/info",
        f"cp {tmp_path}/status /var/lib/dpkg/status",
        "mount -t tmpfs none /var/lib/apt/lists && mkdir /var/lib/apt/lists/partial",
        f"cp {tmp_path}/archive_Packages /var/lib/apt/lists/_archive_._Packages" if lists else "true",
        "mount -t tmpfs none /etc/apt/sources.list.d",
        f"touch /etc/apt/sources.list && mount --bind {tmp_path}/sources.list /etc/apt/sources.list",
        "mount -t tmpfs none /run && mkdir -p /run/systemd/system /run/bin",
        f"cp {CHECKOUT}/tests/support/stand_in_systemctl /run/bin/systemctl",
        "[ ! -e /usr/bin/systemctl ] || mount --bind /run/bin/systemctl /usr/bin/systemctl",  # looked for there first
        'PATH="/run/bin:$PATH" exec "$@"',
    ]
    site = ["ansible-playbook", tmp_path / "play.yml", "-i", "inventories/quickstart", "--check"]
    command = ["unshare", "--mount", "sh", "-ec", "\n".join(machine), "sh", *site, "-e", json.dumps(inputs)]
    environment = {**os.environ, **(systemd or {})}
    run = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return re.sub(r"\s+", " ", run.stdout + run.stderr)


def test_a_bare_debian_with_empty_lists_is_told_what_is_missing_and_fails_nothing(tmp_path: Path) -> None:
    said = check(tmp_path, installed=["kmod"])
    assert "failed=0" in said, said
    assert "apt would install build-essential, ca-certificates, pciutils, python3-venv" in said


def test_what_is_there_is_not_announced(tmp_path: Path) -> None:
    said = check(tmp_path, installed=BASE)
    assert "failed=0" in said, said
    assert "apt would install" not in said


def test_a_name_that_apt_does_not_know_is_refused_where_it_has_lists(tmp_path: Path) -> None:
    said = check(tmp_path, installed=BASE, lists=["tmux"], os_prep_packages=["tmux", "tnux"])
    assert "failed=1" in said, said
    assert "Unable to locate package tnux" in said
    assert "failed=0" in check(tmp_path, installed=BASE, lists=["tmux"], os_prep_packages=["tmux"])


def test_the_interpreter_of_the_environments_gets_its_own_venv(tmp_path: Path) -> None:
    said = check(tmp_path, installed=BASE, os_prep_python="/usr/bin/python3.12")
    assert "apt would install python3.12-venv" in said


@pytest.mark.parametrize(
    ("service", "announced"),
    [
        pytest.param({"ENABLED": "enabled", "ACTIVE": "active"}, False, id="runs"),
        pytest.param({"ENABLED": "enabled", "ACTIVE": "inactive"}, True, id="is stopped"),
        pytest.param({"ENABLED": "disabled", "ACTIVE": "active"}, True, id="would not start at boot"),
        pytest.param({}, False, id="comes with a package that is announced"),
    ],
)
def test_a_time_service_that_would_be_started_is_announced(
    tmp_path: Path, service: Mapping[str, str], announced: bool
) -> None:
    said = check(tmp_path, installed=[*BASE, *(["systemd-timesyncd"] if service else [])], systemd=service)
    assert "failed=0" in said, said
    assert ("Start the time service] *** changed:" in re.sub(r"\*+", "***", said)) == announced, said
