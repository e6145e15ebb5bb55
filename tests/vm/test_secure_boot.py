"""The driver's role on a machine under Secure Boot: real firmware, shim, MOK manager, kernel, DKMS and packages.

What stands in: the compiling of NVIDIA's modules (molecule/driver_debian/files). There is no card. Each test goes on
where the one before left the machine.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.ssh_machine import Machine
from support.uefi import DOWN, Uefi

CHECKOUT = Path(__file__).parents[2]
STAND_INS = CHECKOUT / "molecule" / "driver_debian" / "files"
ROLE: dict[str, Any] = {"ansible.builtin.include_role": {"name": "gpulab.workstation.nvidia_driver"}}
INPUTS = {
    "nvidia_driver_source": "distribution",
    "nvidia_driver_branch": "535",
    "nvidia_driver_version": "535.261.03",
    "nvidia_driver_modules": "proprietary",
}
BLACKLIST = "/etc/modprobe.d/gpulab-nvidia-driver.conf"


class Person:
    """Reads what the role says, and goes to the console with it."""

    def __init__(self) -> None:
        self.password = ""

    def read(self, said: str) -> None:
        told = re.search(r"Choose Enroll MOK, Continue, Yes, and type the password (\d{10})\. Then choose Reboot", said)
        assert told, said
        self.password = told[1]

    def follow(self, console: Uefi) -> None:
        for choice in ("Enroll MOK", "Continue", "Yes"):
            console.see(choice)
            console.type(DOWN)
            console.type("\r")
        console.see("Password:")
        console.type(f"{self.password}\r")
        console.see("Reboot")
        console.type("\r")


@pytest.fixture(scope="module")
def person() -> Person:
    return Person()


@pytest.fixture(scope="module")
def console() -> Iterator[Uefi]:
    folder = CHECKOUT / ".cache" / "uefi"
    subprocess.run([CHECKOUT / "tests" / "vm" / "uefi-machine", folder], check=True)
    (folder / "play.log").unlink(missing_ok=True)
    uefi = Uefi(folder)
    uefi.switch_on()
    try:
        yield uefi
    finally:
        uefi.switch_off()


@pytest.fixture(scope="module")
def machine(console: Uefi) -> Machine:
    reached = Machine(console.folder, "127.0.0.1", port=console.port, vars=INPUTS)
    wait_for(reached)
    reached.run("mkdir -p /etc/dkms && apt-get -qq update")
    stand_ins = ["scp", "-q", *reached.ssh, *STAND_INS.iterdir(), "root@127.0.0.1:/etc/dkms"]
    subprocess.run(stand_ins, check=True)
    return reached


def wait_for(machine: Machine) -> None:
    """Until it has booted; it is degraded as long as what loads the driver at boot is refused."""
    deadline = time.monotonic() + 240
    while machine.ask("systemctl is-system-running --wait").stdout.strip() not in ("running", "degraded"):
        assert time.monotonic() < deadline, "it does not come up: see console.log"
        time.sleep(1)


def restart(machine: Machine, console: Uefi) -> None:
    """Have it restarted, up to the screen that asks for the person."""
    machine.ask("systemctl poweroff")
    console.wait_until_off()
    console.switch_on()
    console.see("Press any key to perform MOK management")


def test_check_mode_announces_the_way_to_the_console_and_makes_no_key(machine: Machine) -> None:
    code, said = machine.play(ROLE, words=("--check",))
    assert code == 0, said
    assert "a person has to confirm at the console" in said
    assert not re.search(r"the password \d", said), "nothing is staged with it"
    assert machine.ask("ls /var/lib/dkms/mok.key").returncode != 0
    assert machine.run("mokutil --list-new") == ""


def test_the_role_makes_all_ready_and_stops_with_what_a_person_has_to_do(machine: Machine, person: Person) -> None:
    code, said = machine.play(ROLE)
    assert code != 0
    person.read(said)
    assert machine.run("stat -c '%U %a' /var/lib/dkms/mok.key") == "root 600"
    assert "DKMS module signing key" in machine.run("mokutil --list-new")
    assert machine.ask(f"ls {BLACKLIST}").returncode != 0, "nouveau is to go once the driver can come"


def test_until_then_the_kernel_refuses_the_driver(machine: Machine) -> None:
    assert machine.run("modinfo -F signer nvidia-current") == "DKMS module signing key"
    assert "Key was rejected by service" in machine.ask("modprobe nvidia").stderr
    code, said = machine.play(ROLE)
    assert (code != 0, "changed=0" in said) == (True, True), said
    assert "type the password that was shown when it was staged" in said


def test_a_screen_that_nobody_answers_asks_for_a_new_enrolment(machine: Machine, console: Uefi, person: Person) -> None:
    before = person.password
    restart(machine, console)
    wait_for(machine)
    code, said = machine.play(ROLE)
    assert code != 0
    person.read(said)
    assert person.password != before


def test_once_a_person_has_followed_it_the_run_goes_on(machine: Machine, console: Uefi, person: Person) -> None:
    restart(machine, console)
    console.type("\r")
    person.follow(console)
    console.wait_until_off()
    console.switch_on()
    wait_for(machine)
    code, said = machine.play(ROLE)
    assert code == 0, said
    assert machine.ask(f"modprobe nvidia && ls {BLACKLIST}").returncode == 0
    assert INPUTS["nvidia_driver_version"] in machine.run("cat /proc/driver/nvidia/version")
    code, said = machine.play(ROLE)
    assert (code, "changed=0" in said) == (0, True), said
