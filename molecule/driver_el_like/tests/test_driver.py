"""What the roles leave on an EL-like machine, seen by other means than their own."""

from __future__ import annotations

import json

import pytest


@pytest.fixture()
def machine(host):
    if host.exists("createrepo_c"):
        pytest.skip("this is the mirror")
    return host


def _packages(machine):
    lines = machine.check_output(r"rpm -qa --qf '%{NAME} %{VERSION}\n'").splitlines()
    return [tuple(line.split()) for line in lines]


def test_all_packages_of_the_driver_are_of_one_version(machine):
    driver = {name: v for name, v in _packages(machine) if name.startswith(("nvidia-", "libnvidia-", "kmod-nvidia"))}
    assert len(driver) == 8
    assert set(driver.values()) == {"580.95.05"}


def test_what_builds_the_modules_came_from_epel(machine):
    enabled = machine.check_output("dnf -q repolist --enabled")
    assert [name for name in ("epel", "crb") if f"\n{name} " in enabled] == ["epel", "crb"], enabled
    assert "Stand-in epel" in machine.check_output("rpm -qi gpg-pubkey")


def test_the_toolkit_came_without_another_driver(machine):
    names = [name for name, _version in _packages(machine)]
    assert "cuda-toolkit-12-8" in names
    assert not {"cuda-12-8", "cuda-drivers", "nvidia-open"} & set(names)


def test_an_upgrade_of_everything_moves_nothing_of_it(machine):
    table = machine.run("dnf --assumeno upgrade").stdout
    assert "standin-bystander" in table
    assert not [word for word in ("nvidia", "cuda", "cudnn") if f" {word}" in table.split("Upgrading:")[1].lower()]


def test_without_the_locks_it_would(machine):
    assert " nvidia-driver-cuda " in machine.run("dnf --assumeno --disableplugin=versionlock upgrade").stdout


def test_the_branch_s_stream_is_enabled_where_there_are_streams(machine):
    streams = machine.run("dnf -q module list --enabled nvidia-driver").stdout
    expected = machine.file("/etc/redhat-release").contains("release 9")
    assert ("580-open" in streams) == expected


def test_rpm_trusts_the_packages(machine):
    assert "Stand-in good" in machine.check_output("rpm -qi gpg-pubkey")


def test_the_headers_are_those_of_the_kernel_that_runs_and_not_the_newest(machine):
    kernels = machine.check_output("ls /lib/modules").split()
    assert machine.check_output("rpm -q --qf '%{VERSION}-%{RELEASE}.x86_64' kernel-devel-matched") in kernels


def test_nouveau_is_kept_off(machine):
    assert "blacklist nouveau" in machine.check_output("modprobe --showconfig")


def test_the_service_starts_at_boot(machine):
    assert machine.service("nvidia-persistenced").is_enabled


def test_the_receipts_say_what_was_installed(machine):
    versions = {"nvidia_driver": "580.95.05", "cuda": "12.8.0", "cudnn": "9.3.0.75"}
    for component, version in versions.items():
        receipt = json.loads(machine.file(f"/var/lib/gpulab/receipts/{component}.json").content_string)
        assert receipt["version"] == version
