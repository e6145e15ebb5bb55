"""What the role leaves on a Debian machine, seen by other means than its own."""

from __future__ import annotations

import json


def _packages(host):
    lines = host.check_output("dpkg-query -W -f '${db:Status-Abbrev}\t${source:Package}\t${Version}\n'").splitlines()
    return [line.split("\t") for line in lines]


def test_all_packages_of_the_driver_are_of_one_version_and_held(host):
    driver = [package for package in _packages(host) if package[1] == "nvidia-graphics-drivers"]
    assert len(driver) > 5
    assert {version for _status, _source, version in driver} == {"535.261.03-1"}
    assert {status.strip() for status, *_others in driver} == {"hi"}


def test_no_upgrade_moves_the_driver(host):
    simulated = host.check_output("apt-get -s dist-upgrade")
    assert "nvidia" not in "".join(line for line in simulated.splitlines() if line.startswith(("Inst", "Remv")))


def test_the_module_is_there_for_the_kernel_of_the_headers(host):
    kernel = host.check_output("ls /lib/modules").split()[0]
    assert "535.261.03" in host.check_output("modinfo -k %s -F version nvidia-current", kernel)


def test_nouveau_is_kept_off(host):
    assert "blacklist nouveau" in host.check_output("modprobe --showconfig")


def test_without_a_gpu_nvidia_smi_finds_its_library_and_no_driver(host):
    assert host.run("nvidia-smi").rc == 9


def test_the_receipt_says_what_was_installed(host):
    receipt = json.loads(host.file("/var/lib/gpulab/receipts/nvidia_driver.json").content_string)
    assert receipt["version"] == "535.261.03"
