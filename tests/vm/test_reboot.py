"""The driver's role on a machine with a kernel of its own, real reboots and a real initramfs: User-mode Linux.

What stands in: the card (files/standin_card.c), nouveau (files/nouveau.c), the compiling of NVIDIA's modules
(molecule/driver_debian/files) and the NVML library. udev, modprobe, DKMS, the initramfs, the packages, SSH and
the reboots are real. Each test goes on where the one before left the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import nvml_stand_in
from support.ssh_machine import Machine

CHECKOUT = Path(__file__).parents[2]
STAND_INS = CHECKOUT / "molecule" / "driver_debian" / "files"
VERSION = "535.261.03"
NVML = "/usr/local/lib/standin/libnvidia-ml.so.1"
SLOTS = "/sys/bus/pci/devices"
TAP = "gpulab-vm0"
INPUTS = {
    "nvidia_driver_source": "distribution",
    "nvidia_driver_branch": "535",
    "nvidia_driver_modules": "proprietary",
    # NVIDIA's daemon finds no card to keep awake.
    "nvidia_driver_persistence": False,
    "nvidia_driver_reboot_timeout": 240,
}
ROLE: dict[str, Any] = {"ansible.builtin.include_role": {"name": "gpulab.workstation.nvidia_driver"}}


def bridge() -> tuple[str, str]:
    """The address of the engine's bridge, and one for the machine on the same network, both with their prefix."""
    shown = json.loads(subprocess.check_output(["ip", "-json", "-4", "address", "show", "docker0"], text=True))
    found = shown[0]["addr_info"][0]
    network = found["local"].rsplit(".", 2)[0]
    return found["local"], f"{network}.255.77/{found['prefixlen']}"


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    folder = CHECKOUT / ".cache" / "vm"
    gateway, address = bridge()
    given = {**os.environ, "GPULAB_VM_ADDRESS": address, "GPULAB_VM_GATEWAY": gateway}
    subprocess.run([CHECKOUT / "tests" / "vm" / "machine", folder], env=given, check=True)
    (folder / "changes").unlink(missing_ok=True)
    (folder / "play.log").unlink(missing_ok=True)
    shutil.rmtree(folder / "boot", ignore_errors=True)
    shutil.copytree(folder / "boot.first", folder / "boot")
    kernel = subprocess.check_output(["linux.uml", "--version"], text=True).strip()
    subprocess.run(["ip", "tuntap", "add", "mode", "tap", "name", TAP], check=True)
    subprocess.run(["ip", "link", "set", TAP, "master", "docker0", "up"], check=True)
    uml = [
        "linux.uml",
        "mem=2048M",
        "ubda=changes,disk.raw",
        "root=/dev/ubda",
        "rw",
        f"initrd=boot/initrd.img-{kernel}",
    ]
    uml += ["con=null", "con0=null,fd:1", f"eth0=tuntap,{TAP}"]
    with (folder / "console.log").open("w") as console:
        process = subprocess.Popen(
            uml, cwd=folder, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
        )
    try:
        defaults = {"gpulab.workstation.gpu_info": {"nvml_library": NVML}}
        machine = Machine(folder, address.partition("/")[0], vars=INPUTS, module_defaults=defaults)
        deadline = time.monotonic() + 300
        while machine.ask("systemctl is-system-running --wait").stdout.strip() != "running":
            assert time.monotonic() < deadline, (folder / "console.log").read_text()[-2000:]
            time.sleep(1)
        put_stand_ins(machine)
        yield machine
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        subprocess.run(["ip", "link", "delete", TAP], check=False)


def look(machine: Machine) -> dict[str, Any]:
    """What gpu_info says of it."""
    return machine.answer({"gpulab.workstation.gpu_info": {}})


def boots(machine: Machine) -> int:
    return int(machine.run("journalctl --list-boots --no-pager | grep -vc ^IDX"))


def put_stand_ins(machine: Machine) -> None:
    """The stand-ins for the compiling of NVIDIA's modules, and for the library that answers for the card."""
    machine.run("mkdir -p /etc/dkms /usr/local/lib/standin && apt-get -qq update")
    machine.run("DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends libc6-dev")
    files = [*STAND_INS.iterdir(), nvml_stand_in.SOURCE]
    subprocess.run(["scp", "-q", *machine.ssh, *files, f"root@{machine.address}:/etc/dkms"], check=True)
    machine.run(f"gcc -shared -fPIC -o {NVML} /etc/dkms/{nvml_stand_in.SOURCE.name} -ldl")
    library = machine.folder / Path(NVML).name
    says = {
        "driver": VERSION,
        "nvml": f"12.{VERSION}",
        "cuda": "12.2",
        "driver_file": "/proc/driver/nvidia/version",
    }
    written = nvml_stand_in.configure(library, machine=says, gpus=[nvml_stand_in.RTX_4090])
    subprocess.run(["scp", "-q", *machine.ssh, written, f"root@{machine.address}:{NVML}.conf"], check=True)


def test_udev_gives_a_bare_machine_to_nouveau(machine: Machine) -> None:
    seen = look(machine)
    assert [gpu["name"] for gpu in seen["gpus"]] == ["NVIDIA GeForce RTX 4090"]
    assert seen["nouveau"]["loaded"]


def test_without_leave_to_reboot_all_is_made_ready(machine: Machine) -> None:
    code, said = machine.play(ROLE, nvidia_driver_version=VERSION, nvidia_driver_reboot="never")
    assert code == 0, said
    assert f"workstation needs a reboot for driver {VERSION}" in said
    assert boots(machine) == 1
    seen = look(machine)
    assert seen["nouveau"]["loaded"] and seen["driver"]["loaded"] is None
    assert seen["reboot_reasons"] == [f"driver {VERSION} is installed, nouveau runs"]
    content = machine.run("lsinitramfs /boot/initrd.img-$(uname -r)")
    assert "etc/modprobe.d/gpulab-nvidia-driver.conf" in content.splitlines()
    assert "nouveau.ko" in content, "it is there, and kept from loading"


def test_the_driver_does_not_load_beside_nouveau(machine: Machine) -> None:
    """As nvidia-smi and nvidia-modprobe would try."""
    assert machine.ask("modprobe nvidia").returncode != 0
    assert look(machine)["driver"]["loaded"] is None


def test_nothing_is_left_to_do_until_a_person_reboots(machine: Machine) -> None:
    code, said = machine.play(ROLE, nvidia_driver_version=VERSION, nvidia_driver_reboot="never")
    assert (code, "changed=0" in said) == (0, True), said


def test_a_machine_that_does_not_come_back_in_time_is_told_so(machine: Machine) -> None:
    late = "[Service]\nExecStartPre=/bin/sleep 90\nTimeoutStartSec=infinity\n"
    machine.run(
        f"mkdir -p /etc/systemd/system/ssh.service.d && printf '{late}' > /etc/systemd/system/ssh.service.d/late.conf"
    )
    code, said = machine.play(ROLE, nvidia_driver_version=VERSION, nvidia_driver_reboot_timeout=30)
    assert code != 0
    assert "workstation did not come back from its reboot for the driver within 30 s" in said, said
    deadline = time.monotonic() + 600
    while machine.ask("rm /etc/systemd/system/ssh.service.d/late.conf").returncode != 0:
        assert time.monotonic() < deadline, (machine.folder / "console.log").read_text()[-2000:]
        time.sleep(1)


def test_one_reboot_served_all_changes_and_the_run_goes_on_from_there(machine: Machine) -> None:
    after = {"ansible.builtin.copy": {"content": "", "dest": "/run/gone-on"}}
    code, said = machine.play(ROLE, after, nvidia_driver_version=VERSION)
    assert code == 0, said
    assert machine.run("ls /run/gone-on")
    assert boots(machine) == 2
    seen = look(machine)
    assert (seen["driver"]["loaded"], seen["nouveau"]["loaded"]) == (VERSION, False)
    code, said = machine.play(ROLE, nvidia_driver_version=VERSION)
    assert (code, "changed=0" in said) == (0, True), said


def test_removal_gives_the_card_back_to_nouveau(machine: Machine) -> None:
    code, said = machine.play(ROLE, nvidia_driver_state="absent")
    assert code == 0, said
    assert boots(machine) == 3
    seen = look(machine)
    assert seen["nouveau"]["loaded"] and seen["driver"]["loaded"] is None
