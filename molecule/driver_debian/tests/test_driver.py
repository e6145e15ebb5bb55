"""What the role leaves on a Debian machine, seen by other means than its own."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def version(host):
    return host.ansible.get_variables()["nvidia_driver_version"]


def _packages(host):
    lines = host.check_output("dpkg-query -W -f '${db:Status-Abbrev}\t${source:Package}\t${Version}\n'").splitlines()
    return [line.split("\t") for line in lines]


def test_all_packages_of_the_driver_are_of_one_version_and_held(host, version):
    driver = [package for package in _packages(host) if package[1].startswith("nvidia-graphics-drivers")]
    assert len(driver) > 5
    assert {found.partition("-")[0] for _status, _source, found in driver} == {version}
    assert {status.strip() for status, *_others in driver} == {"hi"}


def test_no_upgrade_moves_the_driver(host):
    simulated = host.check_output("apt-get -s dist-upgrade")
    assert "nvidia" not in "".join(line for line in simulated.splitlines() if line.startswith(("Inst", "Remv")))


def test_the_module_is_there_for_the_kernel_of_the_headers(host, version):
    kernel = host.check_output("ls /lib/modules").split()[0]
    module = host.check_output("modinfo -k %s -n $(dkms status | sed 's,/.*,,')", kernel)
    assert module.endswith(("/nvidia-current.ko", "/nvidia-current.ko.xz", "/nvidia-tesla-535.ko.xz"))
    assert version in host.check_output("modinfo -F version %s", module)


def test_nouveau_is_kept_off(host):
    assert "blacklist nouveau" in host.check_output("modprobe --showconfig")


def test_without_a_gpu_nvidia_smi_finds_its_library_and_no_driver(host):
    assert host.run("nvidia-smi").rc == 9


def test_the_receipt_says_what_was_installed(host, version):
    receipt = json.loads(host.file("/var/lib/gpulab/receipts/nvidia_driver.json").content_string)
    assert receipt["version"] == version
