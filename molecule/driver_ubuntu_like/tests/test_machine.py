"""What the roles leave on an Ubuntu-like machine, seen by other means than their own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
KERNEL = "6.8.0-85-generic"
VERSION = "580.95.05"


@pytest.fixture()
def machine(host):
    if host.exists("apt-ftparchive"):
        pytest.skip("this is the mirror")
    return host


def _packages(machine):
    """Status and version of each package, by name."""
    lines = machine.check_output("dpkg-query -W -f '${db:Status-Abbrev}\t${Package}\t${Version}\n'").splitlines()
    return {name: (status.strip(), version) for status, name, version in (line.split("\t") for line in lines)}


def _upgraded(machine, options=""):
    lines = machine.check_output(f"apt-get -s {options} dist-upgrade").splitlines()
    return {line.split()[1] for line in lines if line.startswith(("Inst", "Remv"))}


def test_all_packages_of_the_driver_are_of_one_version_and_held(machine):
    driver = {n: p for n, p in _packages(machine).items() if n.startswith(("nvidia-", "libnvidia-"))}
    assert len(driver) == 6
    assert {status for status, _version in driver.values()} == {"hi"}
    versions = {name: version for name, (_status, version) in driver.items()}
    assert versions.pop("nvidia-modprobe") == "580.95.05-1", "it has versions of its own"
    assert set(versions.values()) == {"580.95.05-0ubuntu0.24.04.1"}, "the archive's, not NVIDIA's"


def test_the_modules_are_those_that_ubuntu_compiled_for_this_driver(machine):
    packages = _packages(machine)
    for kernel in (KERNEL, "generic"):
        # Free to follow the kernel, and not the newest: that is made for the newer driver.
        assert packages[f"linux-modules-nvidia-580-open-{kernel}"] == ("ii", "6.8.0-85.85")
    assert not [name for name in packages if name.startswith("nvidia-dkms")]


def test_modprobe_finds_the_open_module_of_the_driver_for_the_kernel(machine):
    told = [machine.check_output(f"modinfo -k {KERNEL} -F {field} nvidia") for field in ("version", "license")]
    assert told == [VERSION, "Dual MIT/GPL"]


def test_under_secure_boot_nobody_is_sent_to_the_console_for_modules_that_ubuntu_signed(machine):
    asked = machine.file("/var/log/mokutil").content_string
    assert "--sb-state" in asked
    assert "--import" not in asked


def test_no_upgrade_moves_anything_of_it(machine):
    upgraded = _upgraded(machine)
    assert "standin-bystander" in upgraded
    assert not [name for name in upgraded if "nvidia" in name or "cuda" in name or "cudnn" in name]


def test_without_pins_and_holds_it_would(machine):
    moved = _upgraded(machine, "-o Dir::Etc::preferencesparts=/nonexistent --ignore-hold")
    assert {"nvidia-utils-580", "libcudnn9-cuda-12"} <= moved


def test_what_is_added_by_hand_is_of_the_driver_s_version(machine):
    lines = machine.check_output("apt-cache policy nvidia-driver-580-open").splitlines()
    assert lines[2].split() == ["Candidate:", "580.95.05-0ubuntu0.24.04.1"]


def _unattended(machine):
    """What unattended-upgrades would take up now."""
    told = machine.check_output("unattended-upgrade --dry-run --verbose 2>&1")
    line = next(line for line in told.splitlines() if "Packages that will be upgraded:" in line)
    return set(line.partition("upgraded:")[2].split())


def test_unattended_upgrades_leave_the_driver_alone(machine):
    assert _unattended(machine) == {"standin-bystander"}


def test_unattended_upgrades_would_leave_it_without_holds_and_pins_too(machine):
    held = " ".join(machine.check_output("apt-mark showhold").split())
    aside = "mkdir -p /root/aside/{0} && mv /etc/apt/{0}/*gpulab-* /root/aside/{0}"
    machine.check_output(f"apt-mark unhold {held}")
    try:
        machine.check_output(aside.format("preferences.d"))
        assert _unattended(machine) == {"standin-bystander"}
        machine.check_output(aside.format("apt.conf.d"))
        assert {"nvidia-utils-580", "libcudnn9-cuda-12"} <= _unattended(machine), "nothing else kept them"
    finally:
        machine.check_output(f"cp -a /root/aside/. /etc/apt && rm -r /root/aside && apt-mark hold {held}")


def test_the_toolkit_came_without_another_driver_and_its_compiler_runs(machine):
    packages = _packages(machine)
    assert packages["cuda-toolkit-12-8"] == ("hi", "12.8.0-1")
    assert not {"cuda-12-8", "cuda-drivers"} & set(packages)
    assert machine.run("/usr/local/cuda/bin/nvcc -o /tmp/program program.cu && /tmp/program").rc == 77


def test_programs_compile_against_the_cudnn_asked_for(machine):
    assert _packages(machine)["libcudnn9-cuda-12"] == ("hi", "9.3.0.75-1")
    source = (
        "#include <cudnn_version.h>\nsize_t cudnnGetVersion(void);"
        " int main() { return cudnnGetVersion() != CUDNN_VERSION; }"
    )
    compile_it = "cc -include stddef.h -x c -o /tmp/asks - -lcudnn"
    assert machine.run(f"echo '{source}' | {compile_it} && /tmp/asks").rc == 0


def test_persistence_mode_is_turned_on_where_ubuntu_s_unit_turns_it_off(machine):
    assert machine.service("nvidia-persistenced").is_enabled
    command = machine.check_output("systemctl show -P ExecStart nvidia-persistenced")
    assert " --persistence-mode" in command
    assert "--no-persistence-mode" not in command


def test_nouveau_is_kept_off(machine):
    assert "blacklist nouveau" in machine.check_output("modprobe --showconfig")


def test_the_receipts_say_what_was_installed(machine):
    versions = {"nvidia_driver": VERSION, "cuda": "12.8.0", "cudnn": "9.3.0.75"}
    for component, version in versions.items():
        receipt = json.loads(machine.file(f"/var/lib/gpulab/receipts/{component}.json").content_string)
        assert receipt["version"] == version


def test_roles_that_have_nothing_to_do_end_after_a_look(machine):
    playbook = Path(__file__).parents[1] / "converge.yml"
    converge = ["ansible-playbook", "-i", os.environ["MOLECULE_INVENTORY_FILE"], playbook]
    collections = f"{PROJECT}/.collections:{PROJECT}/.cache/collections"
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": collections}
    done = subprocess.run(converge, cwd=PROJECT, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {key: int(number) for key, number in re.findall(r"(\w+)=(\d+)", done.stdout)}
    assert counts["changed"] == 0
    assert counts["ok"] + counts["skipped"] <= 12, done.stdout
