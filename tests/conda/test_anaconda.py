"""The role anaconda, whole, with ansible-playbook, on a machine that may be changed."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import VERSIONS, Machine, StandIns

Play = Callable[..., subprocess.CompletedProcess]
MOMENTS = 6


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def inputs(stand_ins: StandIns, tmp_path: Path) -> dict[str, Any]:
    """What the role needs to install the stand-in; no test may touch the real host."""
    return {
        "anaconda_prefix": str(tmp_path / "opt" / "conda"),
        "anaconda_source": str(stand_ins.installer(VERSIONS[0]).parent),
        "anaconda_checksum": sha256(stand_ins.installer(VERSIONS[0])),
        "anaconda_version": VERSIONS[0],
        "anaconda_channels": [stand_ins.channel],
    }


@pytest.fixture
def command(machine: Machine, inputs: dict[str, Any], tmp_path: Path) -> Callable[..., list[str]]:
    playbook = tmp_path / "play.yml"
    play = {"hosts": "localhost", "gather_facts": False, "roles": ["gpulab.workstation.anaconda"]}
    playbook.write_text(json.dumps([play]))

    def build(*options: str, **more: Any) -> list[str]:
        executable = Path(sys.executable).parent / "ansible-playbook"
        variables = {**inputs, "ansible_python_interpreter": sys.executable, **more}
        return machine.command(
            executable, playbook, "-i", "localhost,", "-c", "local", "-e", json.dumps(variables), *options
        )

    return build


@pytest.fixture
def play(command: Callable[..., list[str]]) -> Play:
    def run(*options: str, **more: Any) -> subprocess.CompletedProcess:
        return subprocess.run(command(*options, **more), capture_output=True, text=True, check=False)

    return run


def changes(done: subprocess.CompletedProcess) -> int:
    assert done.returncode == 0, done.stdout + done.stderr
    return int(re.search(r"changed=(\d+)", done.stdout).group(1))


def refusal(done: subprocess.CompletedProcess) -> str:
    assert done.returncode != 0, done.stdout
    assert "changed=0" in done.stdout, "nothing changes before a refusal"
    return " ".join(done.stdout.split())


def machine_file(machine: Machine, path: str) -> Callable[[], str]:
    """Return what reads a file of the machine."""
    return lambda: machine.run("cat", path).stdout


def test_it_is_installed_for_all_shells_and_a_second_run_changes_nothing(
    play: Play, machine: Machine, inputs: dict[str, Any]
) -> None:
    prefix = Path(inputs["anaconda_prefix"])
    assert changes(play("--check")) > 0
    assert not prefix.parent.exists(), "check mode changes nothing"
    assert changes(play()) > 0
    assert changes(play()) == 0
    for shell in (["bash", "-lc"], ["bash", "-ic"], ["sh", "-c"]):
        told = machine.run("env", "-i", "HOME=/", "PATH=/usr/local/bin:/usr/bin:/bin", *shell, "conda info --json")
        assert json.loads(told.stdout)["root_prefix"] == str(prefix), (shell, told.stderr)
    everything = [prefix, *prefix.rglob("*")]
    assert not [path for path in everything if not path.is_symlink() and path.stat().st_mode & 0o022]
    assert {path.name for path in prefix.parent.iterdir()} == {"conda"}

    assert changes(play(anaconda_state="absent")) > 0
    assert not list(prefix.parent.iterdir())
    assert machine.run("test", "-e", "/usr/local/bin/conda").returncode == 1
    assert changes(play(anaconda_state="absent")) == 0


# Prefixes in /opt, where others than root can go too; pytest's own folders are closed to them.
OPT = {"anaconda_prefix": "/opt/conda", "anaconda_shell": False}
USERS = {**OPT, "anaconda_group": "users"}


def as_user(machine: Machine, *command: str, gid: int) -> subprocess.CompletedProcess[str]:
    identity = ["--reuid=65534", f"--regid={gid}", "--clear-groups"]
    return machine.run("setpriv", *identity, "env", "HOME=/opt/home", *command)


def member_gid(machine: Machine) -> int:
    return int(machine.run("getent", "group", "users").stdout.split(":")[2])


def written_by(machine: Machine, *, gid: int) -> list[str]:
    """What a user can write in the installation, all but the environments."""
    looked = ["-path", "/opt/conda/envs/*", "-prune", "-o", "!", "-type", "l", "-writable", "-print"]
    return as_user(machine, "find", "/opt/conda", *looked, gid=gid).stdout.split()


def test_members_make_environments_and_change_nothing_that_root_runs(
    play: Play, machine: Machine, stand_ins: StandIns
) -> None:
    member, stranger = member_gid(machine), 65534
    changes(play(**USERS))
    machine.run("install", "-d", "-o", "65534", "/opt/home")
    machine.run("install", "-m", "0600", "/dev/null", "/opt/secret")
    assert written_by(machine, gid=member) == ["/opt/conda/envs"]
    assert written_by(machine, gid=stranger) == []

    create = ["/opt/conda/bin/conda", "create", "--yes", "--override-channels", "-c", stand_ins.channel]
    made = as_user(machine, *create, "-p", "/opt/conda/envs/mine", "python", gid=member)
    assert made.returncode == 0, made.stdout + made.stderr
    assert machine.run("stat", "-c", "%G", "/opt/conda/envs/mine").stdout == "users\n"
    as_user(machine, "ln", "-s", "/opt/secret", "/opt/conda/envs/link", gid=member)
    assert changes(play(**USERS)) == 0
    assert machine.run("stat", "-c", "%U %a", "/opt/secret").stdout == "root 600\n"

    assert changes(play(**OPT)) > 0
    assert written_by(machine, gid=member) == []
    assert machine.run("ls", "/opt/conda/envs/mine/bin/python").returncode == 0


def test_an_installation_that_was_open_to_its_group_is_closed(play: Play, machine: Machine) -> None:
    changes(play(**OPT))
    machine.run("chgrp", "-R", "users", "/opt/conda")
    machine.run("chmod", "-R", "g+rwX", "/opt/conda")
    machine.run("chown", "65534", "/opt/conda/bin/conda")
    machine.run("install", "-m", "0660", "-g", "users", "/dev/null", "/opt/secret")
    for link in ("/opt/conda/etc/link", "/opt/conda/envs/.conda_envs_dir_test"):
        machine.run("ln", "-sf", "/opt/secret", link)
    assert changes(play("--check", **USERS)) > 0
    assert machine.run("stat", "-c", "%G", "/opt/conda/bin/conda").stdout == "users\n", "check mode changes nothing"
    assert changes(play(**USERS)) > 0
    assert written_by(machine, gid=member_gid(machine)) == ["/opt/conda/envs"]
    assert machine.run("stat", "-c", "%U %G %a", "/opt/secret").stdout == "root users 660\n"
    assert changes(play(**USERS)) == 0


def test_a_folder_that_was_there_stays_as_it_was(play: Play, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder, owner, mode in ((ours, 0, 0o711), (theirs, 65534, 0o2775)):
        folder.mkdir()
        os.chown(folder, owner, 100)
        folder.chmod(mode)
    changes(play(anaconda_prefix=str(ours / "conda"), anaconda_shell=False))
    said = refusal(play(anaconda_prefix=str(theirs / "conda"), anaconda_shell=False))
    assert f"others than root may change {theirs}" in said
    standing = [
        (folder.stat().st_uid, folder.stat().st_gid, folder.stat().st_mode & 0o7777) for folder in (ours, theirs)
    ]
    assert standing == [(0, 100, 0o711), (65534, 100, 0o2775)]


def test_a_second_installation_stands_beside_the_first_and_goes_alone(
    play: Play, machine: Machine, inputs: dict[str, Any], tmp_path: Path
) -> None:
    second = {"anaconda_prefix": str(tmp_path / "srv" / "conda"), "anaconda_shell": False}
    receipt = machine_file(machine, "/var/lib/gpulab/receipts/anaconda.json")
    changes(play())
    first = receipt()
    assert changes(play(**second)) > 0
    assert (changes(play()), changes(play(**second))) == (0, 0)
    told = machine.run("env", "-i", "HOME=/", "PATH=/usr/local/bin:/usr/bin:/bin", "bash", "-lc", "conda info --json")
    assert json.loads(told.stdout)["root_prefix"] == inputs["anaconda_prefix"]
    assert receipt() == first, "the receipt is of the one that the machine's shells have"
    assert changes(play(anaconda_state="absent", **second)) > 0
    assert not Path(second["anaconda_prefix"]).exists()
    assert receipt() == first
    assert changes(play()) == 0


def test_a_newer_version_goes_over_the_older_and_environments_stay(
    play: Play, inputs: dict[str, Any], stand_ins: StandIns
) -> None:
    prefix = Path(inputs["anaconda_prefix"])
    changes(play(anaconda_shell=False))
    (prefix / "envs" / "mine").mkdir(parents=True)
    newer = {"anaconda_version": VERSIONS[1], "anaconda_checksum": sha256(stand_ins.installer(VERSIONS[1]))}
    assert changes(play(anaconda_shell=False, **newer)) > 0
    assert (prefix / "conda-meta" / "stand-in-version").read_text().strip() == VERSIONS[1]
    assert (prefix / "envs" / "mine").is_dir()
    assert "holds the environments mine" in refusal(play(anaconda_state="absent"))
    changes(play(anaconda_state="absent", anaconda_remove_environments=True))
    assert not prefix.exists()


def test_mirrors_and_channels_are_configured(play: Play, inputs: dict[str, Any]) -> None:
    changes(
        play(
            anaconda_shell=False,
            anaconda_channels=["conda-forge", "lab"],
            anaconda_channel_alias="https://mirror.example.org/conda",
            anaconda_custom_channels={"lab": "https://lab.example.org"},
            anaconda_condarc={"remote_read_timeout_secs": 120},
        )
    )
    text = (Path(inputs["anaconda_prefix"]) / ".condarc").read_text()
    for line in (
        "- conda-forge",
        "channel_alias: https://mirror.example.org/conda",
        "lab: https://lab.example.org",
        "remote_read_timeout_secs: 120",
    ):
        assert line in text


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"anaconda_distribution": "miniconda"}, "Miniforge with conda-forge is free for all"),
        ({"anaconda_channels": ["defaults"]}, "Anaconda's terms of service"),
        ({"anaconda_channels": ["https://repo.anaconda.com/pkgs/main"]}, "Anaconda's terms of service"),
        ({"anaconda_channels": ["anaconda"]}, "Anaconda's terms of service"),
        ({"anaconda_condarc": {"channels": ["defaults"]}}, "Anaconda's terms of service"),
        ({"anaconda_custom_channels": {"lab": "https://repo.anaconda.com/pkgs"}}, "Anaconda's terms of service"),
        ({"anaconda_group": "nosuchgroup"}, "there is no group nosuchgroup"),
        (
            {
                "anaconda_distribution": "anaconda",
                "anaconda_accept_tos": True,
                "anaconda_version": "auto",
                "anaconda_checksum": "",
            },
            "no verified SHA-256 is known for Anaconda3-2026.07-1",
        ),
        ({"anaconda_source": "/nonexistent"}, "out of reach (no such file on the controller)"),
        ({"anaconda_source": "http://127.0.0.1:9/mirror"}, "out of reach"),
        ({"anaconda_prefix": "/opt/my conda"}, "must be an absolute path"),
        ({"anaconda_prefix": "/usr"}, "this role did not make it"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_changes(play: Play, wishes: dict[str, Any], said: str) -> None:
    assert said in refusal(play(**wishes))


def test_an_old_c_library_and_a_full_disk_are_refused(play: Play, command: Callable[..., list[str]]) -> None:
    # The same comparison as on an old machine, with demands that this one cannot meet.
    needs = {"title": "Miniforge", "version": "x", "file": "x.sh", "url": "x", "terms": False}
    too_new = {"miniforge": {**needs, "glibc": "99.0", "disk_mib": 1}}
    assert "needs glibc 99.0 or newer" in refusal(play(__anaconda_distributions=too_new))
    too_large = {"miniforge": {**needs, "glibc": "2.17", "disk_mib": 10**9}}
    assert "MiB free" in refusal(play(__anaconda_distributions=too_large))


def test_a_tampered_installer_is_not_run(play: Play, inputs: dict[str, Any], tmp_path: Path) -> None:
    source = tmp_path / "mirror"
    source.mkdir()
    name = next(Path(inputs["anaconda_source"]).glob(f"*{VERSIONS[0]}*")).name
    tampered = Path(shutil.copy(Path(inputs["anaconda_source"]) / name, source))
    with tampered.open("ab") as file:
        file.write(b"\ntouch /pwned\n")
    done = play(anaconda_source=str(source))
    assert done.returncode != 0 and "It was not run" in " ".join(done.stdout.split())
    assert not Path(inputs["anaconda_prefix"]).exists()
    assert changes(play()) > 0, "with the true one the next run goes through"


@pytest.mark.long
@pytest.mark.parametrize("moment", range(MOMENTS))
def test_an_installer_killed_at_any_moment_is_made_good_by_the_next_run(
    play: Play, command: Callable[..., list[str]], inputs: dict[str, Any], moment: int
) -> None:
    prefix = Path(inputs["anaconda_prefix"])
    process = subprocess.Popen(command(anaconda_shell=False), stdout=subprocess.DEVNULL, start_new_session=True)
    journal = prefix.parent / ".conda.journal"
    while not journal.exists() and process.poll() is None:
        time.sleep(0.02)
    time.sleep(random.Random(moment).uniform(0, 3))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    changes(play(anaconda_shell=False))
    assert changes(play(anaconda_shell=False)) == 0
    told = subprocess.run([prefix / "bin" / "conda", "info", "--json"], capture_output=True, check=True)
    assert json.loads(told.stdout)["root_prefix"] == str(prefix)
    assert {path.name for path in prefix.parent.iterdir()} == {"conda"}
