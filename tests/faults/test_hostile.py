"""Machines and moments that are against it: each run ends well, or with one message that names cause and way out.

After each fault that was lifted the next run converges. Bare containers without a network, from the bundle.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from faults.lab import CHECKOUT, OTHER_ENVIRONMENT, Machine, Run, image_exists, machine

CONVERGED = "gpulab/hostile-converged"
# Whatever runs there speaks German, so that nothing of ours can live on the words of English messages.
ALONE = ("--network", "none", "--env", "LC_ALL=de_DE.UTF-8")
PASSWORD = "correct-horse-battery"
# Before each fault, so that there is something to do: packages, files, or an environment.
NO_PACKAGES = "apt-get -qq purge --auto-remove build-essential pciutils > /dev/null 2>&1"
OTHER_LIMITS = {"os_prep_open_files": 8192}
# Holds dpkg's lock for so many seconds, as another package manager would.
HOLD = """python3 -c '
import fcntl, os, time
lock = open("/var/lib/dpkg/lock-frontend", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
open("/run/held", "w").write(str(os.getpid()))
time.sleep({})'"""


@pytest.fixture(scope="session")
def image() -> str:
    """A machine with a way in by ssh, two foreign locales, and a clock that can be lied to."""
    built = subprocess.run(
        ["tests/containers/image", "hostile", "12"], cwd=CHECKOUT, check=True, stdout=subprocess.PIPE, text=True
    )
    return built.stdout.strip()


@pytest.fixture(scope="session")
def stranger(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Machine, Run, dict[str, Any]]]:
    """A bare machine converged by an ordinary user: by ssh, sudo and a password, in Chinese, with much forbidden."""
    work = tmp_path_factory.mktemp("stranger")
    with machine("hostile-stranger", work, ["--tmpfs", "/tmp:rw,noexec,nosuid,nodev"], image) as desk:
        connection = by_ssh(desk, work, locale="zh_CN.UTF-8", umask="077")
        yield desk, desk.play("-vv", connection=connection), connection


@pytest.fixture(scope="session")
def converged(image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of a machine that has converged."""
    if not image_exists(CONVERGED):
        with machine("hostile-converged", tmp_path_factory.mktemp("converged"), ALONE, image) as desk:
            run = desk.play()
            assert well(run), run.text
            desk.keep_as(CONVERGED)
    return CONVERGED


@pytest.fixture
def desk(converged: str, tmp_path: Path) -> Iterator[Machine]:
    """A machine that has converged."""
    with machine(f"hostile-{os.getpid()}", tmp_path, ALONE, converged) as there:
        yield there


def by_ssh(desk: Machine, work: Path, *, locale: str, umask: str) -> dict[str, Any]:
    """Make ada, who may use sudo with her password, and eve, who may not; return how Ansible comes in as ada."""
    key = work / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    desk.inside(f"""
        for user in ada eve; do
          useradd --create-home --shell /bin/bash $user && echo "$user:{PASSWORD}" | chpasswd
          install -d -o $user -m 0700 /home/$user/.ssh
          echo '{key.with_suffix(".pub").read_text().strip()}' > /home/$user/.ssh/authorized_keys
        done
        printf 'ada ALL=(ALL:ALL) ALL\nDefaults use_pty\n' > /etc/sudoers.d/ada
        printf 'LANG={locale}\\nLC_ALL={locale}\\n' > /etc/default/locale
        printf 'LANG={locale}\\nLC_ALL={locale}\\n' >> /etc/environment
        echo 'session optional pam_umask.so umask={umask}' >> /etc/pam.d/common-session
        systemctl start ssh
    """)
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
    return {
        "ansible_connection": "ssh",
        "ansible_host": desk.address(),
        "ansible_user": "ada",
        "ansible_ssh_private_key_file": str(key),
        "ansible_become_password": PASSWORD,
        "ansible_ssh_common_args": f"{options} -o SendEnv=LC_ALL -o ServerAliveInterval=3 -o ServerAliveCountMax=2",
    }


def well(run: Run) -> bool:
    return run.process.returncode == 0 and run.recap("desk").get("failed") == 0


def unchanged(run: Run) -> bool:
    return well(run) and run.recap("desk")["changed"] == 0


def failure(run: Run) -> str:
    """Return the one message by which a run tells why it failed, though each of its modules could answer."""
    assert "Traceback" not in run.text and "MODULE FAILURE" not in run.text, run.text
    return message(run)


def message(run: Run) -> str:
    """Return the one message by which a run tells why it failed."""
    assert run.process.returncode != 0, run.text
    page = re.search(r"^\s*report +(/\S+)/index.html", run.text, re.MULTILINE)
    assert page, run.text
    record = json.loads(Path(page.group(1), "run.json").read_text(encoding="utf-8"))["records"][0]
    told = str(record["failed"]["message"])
    assert told.startswith("desk") and "Traceback" not in told, told
    return told


# ---- an ordinary user, a foreign language, and what is forbidden ----------------------------------------------------


def test_an_ordinary_user_with_sudo_and_a_password_converges_a_bare_machine(
    stranger: tuple[Machine, Run, dict[str, Any]],
) -> None:
    desk, run, connection = stranger
    assert well(run), run.text
    assert desk.inside("locale | grep -c zh_CN || true; su - ada -c 'umask; locale'").count("zh_CN") > 3
    assert unchanged(desk.play(connection=connection))


def test_the_password_is_in_no_log_page_or_file(stranger: tuple[Machine, Run, dict[str, Any]]) -> None:
    desk, run, _connection = stranger
    assert PASSWORD not in run.text
    pages = re.findall(r"report +(/\S+)/index.html", run.text)
    assert pages and all(PASSWORD not in path.read_text() for page in pages for path in Path(page).iterdir())
    places = "/var/log /var/lib /var/tmp /tmp /root /home /etc /opt/gpulab/share /run/log /usr/local"
    assert desk.inside(f"grep -rl {PASSWORD} {places} 2> /dev/null || true; journalctl | grep {PASSWORD} || true") == ""


@pytest.mark.parametrize(
    ("user", "password"), [("ada", "wrong"), ("ada", ""), ("eve", PASSWORD)], ids=["wrong", "none", "without a right"]
)
def test_a_user_who_cannot_become_root_is_told_so_before_the_first_change(
    stranger: tuple[Machine, Run, dict[str, Any]], user: str, password: str
) -> None:
    desk, _run, connection = stranger
    connection = {**connection, "ansible_user": user, "ansible_become_password": password}
    run = desk.play(connection=connection, **OTHER_LIMITS)
    assert re.search(r"sudo does not let become root \(.+\)\. Give that user's password with -K", failure(run))
    assert run.recap("desk")["changed"] == 0


def test_a_terminal_that_sudo_wants_is_named_and_given(
    stranger: tuple[Machine, Run, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, _run, connection = stranger
    desk.inside("echo 'Defaults requiretty' > /etc/sudoers.d/terminal")
    assert "(requiretty), set ANSIBLE_PIPELINING=false" in failure(desk.play(connection=connection))
    monkeypatch.setenv("ANSIBLE_PIPELINING", "false")
    assert unchanged(desk.play(connection=connection))
    desk.inside("rm /etc/sudoers.d/terminal")


# ---- packages -------------------------------------------------------------------------------------------------------


def test_a_lock_that_another_holds_for_a_while_is_waited_for(desk: Machine) -> None:
    desk.inside(NO_PACKAGES)
    hold(desk, 25)
    run = desk.play()
    assert well(run), run.text


def test_a_lock_that_another_never_gives_up_is_named_with_its_holder(desk: Machine) -> None:
    desk.inside(NO_PACKAGES)
    hold(desk, 1000)
    told = failure(desk.play(os_prep_lock_timeout=5))
    assert re.search(r"Another package manager is at work: process \d+ \(python3\) holds /var/lib/dpkg/lock", told), (
        told
    )
    desk.inside("kill $(cat /run/held)")
    assert well(desk.play(os_prep_lock_timeout=5))


def test_what_an_interrupted_dpkg_left_is_finished(desk: Machine) -> None:
    desk.inside(f"""
        {NO_PACKAGES}
        deb=$(find /srv/gpulab-bundle/apt -name 'pciutils_*.deb')
        dpkg --unpack --force-depends $deb > /dev/null 2>&1
        touch /var/lib/dpkg/updates/0001
    """)
    assert "not yet configured" in desk.inside("dpkg --audit", check=False)
    run = desk.play()
    assert well(run), run.text
    assert desk.inside("dpkg --audit; ls /var/lib/dpkg/updates") == ""


def test_a_package_cut_off_in_the_middle_of_its_files_is_unpacked_again(desk: Machine) -> None:
    """As dpkg leaves it when it is killed: half installed, and to be installed anew before anything else."""
    desk.inside(NO_PACKAGES)
    desk.inside("""
        dpkg --unpack --force-depends $(find /srv/gpulab-bundle/apt -name 'pciutils_*.deb') > /dev/null 2>&1
        sed -i '/^Package: pciutils$/,/^$/s/^Status: .*/Status: install reinstreq half-installed/' /var/lib/dpkg/status
        rm /usr/bin/lspci
    """)
    run = desk.play()
    assert well(run), run.text
    assert desk.inside("dpkg --audit; dpkg --verify pciutils") == ""


# ---- the clock ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", ["2020-01-01 00:00:00", "2046-01-01 00:00:00"])
def test_a_clock_that_is_far_off_is_named_before_the_first_change(desk: Machine, clock: str) -> None:
    desk.inside(NO_PACKAGES)
    # Each program that starts from now on is told this time.
    desk.inside(f"""
        echo '@{clock}' > /etc/faketimerc
        find /usr/lib -name libfaketime.so.1 > /etc/ld.so.preload
    """)
    run = desk.play()
    told = failure(run)
    assert clock[:4] in told and "clock" in told and "timedatectl" in told, told
    assert run.recap("desk")["changed"] == 0
    desk.inside("rm /etc/ld.so.preload")
    assert well(desk.play())


# ---- disks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "size", "request_"),
    [
        ("/opt/gpulab/envs", "300m", {}),
        ("/var/lib/gpulab", "4k", {}),
        ("/etc/security/limits.d", "4k", OTHER_LIMITS),
    ],
)
def test_a_full_disk_is_named(desk: Machine, place: str, size: str, request_: Mapping[str, Any]) -> None:
    desk.inside(f"mount -t tmpfs -o size={size},mode=755 none {place} && head -c 4k /dev/zero > {place}/ballast")
    told = failure(desk.play(**request_))
    assert re.search(r"MiB free|[Nn]o space left|disk is full", told), told
    desk.inside(f"umount {place}")
    assert well(desk.play(**request_))


def test_a_disk_that_fills_up_in_the_middle_is_named_and_the_next_run_goes_on(desk: Machine) -> None:
    desk.inside("mount -t tmpfs -o size=4000m,mode=755 none /opt/gpulab/envs")
    run = desk.start(**OTHER_ENVIRONMENT)
    wait_for(run, "build_venv | Install TensorFlow")
    desk.inside("head -c 10000M /dev/zero > /opt/gpulab/envs/ballast", check=False)
    run.end()
    told = failure(run)
    assert "No space left" in told or "disk" in told, told
    desk.inside("rm /opt/gpulab/envs/ballast")
    assert well(desk.play(**OTHER_ENVIRONMENT))


# ---- file systems that cannot be written ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "request_"),
    [
        ("/opt/gpulab/envs", OTHER_ENVIRONMENT),
        ("/usr/local/bin", {"tensorflow_entry_point": "other-python"}),
        ("/etc/security/limits.d", OTHER_LIMITS),
        ("/var/lib/gpulab", OTHER_LIMITS),
        ("/opt/gpulab/share", {"cifar10_epochs": 2}),
    ],
)
def test_a_place_that_cannot_be_written_is_named_before_the_first_change(
    desk: Machine, place: str, request_: Mapping[str, Any]
) -> None:
    desk.inside(f"mount --bind {place} {place} && mount -o remount,bind,ro {place}")
    run = desk.play(**request_)
    told = failure(run)
    assert "cannot be written" in told and place in told, told
    assert run.recap("desk")["changed"] == 0
    desk.inside(f"umount {place}")
    assert well(desk.play(**request_))


@pytest.mark.parametrize("temporary", ["true", "mount -t tmpfs none /tmp"], ids=["all of it", "all but /tmp"])
def test_a_root_that_is_read_only_is_named_before_the_first_change(desk: Machine, temporary: str) -> None:
    desk.inside(f"{temporary} && journalctl --relinquish-var && mount -o remount,bind,ro /")
    run = desk.play(**OTHER_LIMITS)
    assert "read-only" in message(run)
    assert run.recap("desk")["changed"] == 0
    desk.inside("mount -o remount,bind,rw /")
    assert well(desk.play(**OTHER_LIMITS))


# ---- the way to it --------------------------------------------------------------------------------------------------


def test_a_connection_that_is_lost_in_the_middle_ends_the_run_and_the_next_converges(
    stranger: tuple[Machine, Run, dict[str, Any]],
) -> None:
    desk, _run, connection = stranger
    run = desk.start(connection=connection, cifar10_epochs=2, **OTHER_LIMITS)
    wait_for(run, "os_prep : configure | Set limits")
    desk.unplug()
    run.end()
    assert "unreachable=1" in run.text or "does not answer" in run.text or "stopped answering" in run.text, run.text
    assert "Traceback" not in run.text
    desk.plug()
    connection = {**connection, "ansible_host": desk.address()}
    assert well(desk.play(connection=connection, cifar10_epochs=2, **OTHER_LIMITS))


def test_a_machine_that_is_rebooted_in_the_middle_converges_by_the_next_run(desk: Machine) -> None:
    run = desk.start(**OTHER_ENVIRONMENT)
    in_the_middle_of_an_installation(desk, run)
    desk.reboot()
    run.end()
    assert "The task was ended by force" in message(run)
    assert well(desk.play(**OTHER_ENVIRONMENT))


def test_a_task_that_lost_its_controller_and_goes_on_is_waited_for(desk: Machine) -> None:
    run = desk.start(**OTHER_ENVIRONMENT)
    in_the_middle_of_an_installation(desk, run)
    run.kill()
    assert desk.inside("ls -d /opt/gpulab/envs/*/tmp*"), "it goes on"
    following = desk.play(**OTHER_ENVIRONMENT)
    assert well(following), following.text
    assert desk.inside("ls -d /opt/gpulab/envs/*/tmp* || true") == ""


def hold(desk: Machine, seconds: int) -> None:
    desk.inside(f"{HOLD.format(seconds)} > /dev/null 2>&1 & until [ -s /run/held ]; do sleep 0.1; done")


def in_the_middle_of_an_installation(desk: Machine, run: Run) -> None:
    wait_for(run, "build_venv | Install TensorFlow")
    desk.inside("until ls -d /opt/gpulab/envs/*/tmp*/uv/bin/uv; do sleep 0.2; done")


def wait_for(run: Run, task: str) -> None:
    """Wait until a task has begun."""
    number = 0
    while run.wait_for_task(number):
        if task in run.tasks[number][0]:
            return
        number += 1
    raise AssertionError(f"{task} never began:\n{run.text}")
