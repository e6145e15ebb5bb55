"""The key that signs the driver, on a machine under Secure Boot: real firmware, shim, MOK manager, kernel and DKMS.

What stands in: the driver, of which a module with nothing in it takes the place. Each test goes on where the one before
left the machine.
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
KEY: dict[str, Any] = {"gpulab.workstation.secure_boot_key": {}}
MODULE = """
mkdir -p /usr/src/standin-1.0 && cd /usr/src/standin-1.0
printf '#include <linux/module.h>\nMODULE_LICENSE("GPL");\n' > standin.c
echo 'obj-m := standin.o' > Makefile
cat > dkms.conf << END
PACKAGE_NAME=standin
PACKAGE_VERSION=1.0
BUILT_MODULE_NAME=standin
DEST_MODULE_LOCATION=/updates/dkms
AUTOINSTALL=yes
END
dkms install standin/1.0
"""
staged: list[str] = []  # the passwords that were shown, the last one is that of the next boot


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
    reached = Machine(console.folder, "127.0.0.1", port=console.port)
    wait_for(reached)
    return reached


def wait_for(machine: Machine) -> None:
    deadline = time.monotonic() + 240
    while machine.ask("systemctl is-system-running --wait").stdout.strip() != "running":
        assert time.monotonic() < deadline, "it does not come up: see console.log"
        time.sleep(1)


def shut_down(machine: Machine, console: Uefi) -> None:
    machine.ask("systemctl poweroff")
    console.wait_until_off()


def password_in(instruction: str) -> str:
    found = re.search(r"type the password (\d{10})\.", instruction)
    assert found, instruction
    return found[1]


def test_check_mode_announces_the_key_and_makes_nothing(machine: Machine) -> None:
    answer = machine.answer(KEY, words=("--check",))
    assert (answer["state"], answer["changed"], answer["enrolled"]) == ("enabled", True, False)
    assert not re.search(r"\d{10}", answer["instruction"]), "nothing is staged with it"
    assert machine.ask("ls /var/lib/dkms/mok.key").returncode != 0
    assert machine.run("mokutil --list-new") == ""


def test_the_key_is_made_and_its_enrolment_is_staged_once(machine: Machine) -> None:
    answer = machine.answer(KEY)
    assert (answer["changed"], answer["certificate"]) == (True, "/var/lib/dkms/mok.pub")
    staged.append(password_in(answer["instruction"]))
    assert machine.run("stat -c '%U %a' /var/lib/dkms/mok.key") == "root 600"
    assert "DKMS module signing key" in machine.run("mokutil --list-new")
    again = machine.answer(KEY)
    assert again["changed"] is False
    assert "the password that was shown when it was staged" in again["instruction"]


def test_until_then_the_kernel_refuses_what_dkms_signs_with_it(machine: Machine) -> None:
    machine.run(MODULE)
    assert machine.run("modinfo -F signer standin") == "DKMS module signing key"
    assert "Key was rejected by service" in machine.ask("modprobe standin").stderr


def test_a_screen_that_nobody_answers_asks_for_a_new_enrolment(machine: Machine, console: Uefi) -> None:
    shut_down(machine, console)
    console.switch_on()
    console.see("Press any key to perform MOK management")
    wait_for(machine)
    answer = machine.answer(KEY)
    assert (answer["changed"], answer["enrolled"]) == (True, False)
    staged.append(password_in(answer["instruction"]))
    assert staged[0] != staged[1]


def test_at_the_console_the_instruction_is_all_that_a_person_needs(machine: Machine, console: Uefi) -> None:
    shut_down(machine, console)
    console.switch_on()
    console.see("Press any key to perform MOK management")
    console.type("\r")
    console.see("Enroll MOK")
    console.type(DOWN)
    console.type("\r")
    console.see("Continue")
    console.type(DOWN)
    console.type("\r")
    console.see("Yes")
    console.type(DOWN)
    console.type("\r")
    console.see("Password:")
    console.type(f"{staged[-1]}\r")
    console.see("Reboot")
    console.type("\r")
    console.wait_until_off()
    console.switch_on()
    wait_for(machine)


def test_from_then_on_the_kernel_loads_it_and_nothing_is_left_to_do(machine: Machine) -> None:
    answer = machine.answer(KEY)
    assert (answer["state"], answer["enrolled"], answer["changed"]) == ("enabled", True, False)
    assert answer["instruction"] == ""
    assert machine.ask("modprobe standin").returncode == 0
    assert "standin" in machine.run("lsmod")
