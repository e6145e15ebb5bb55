"""NVIDIA's repository: the right folder, the right key for each distribution, and drivers of one source only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Callable, Dict, Tuple

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.gpulab.workstation.plugins.module_utils import _nvidia_repository as nvidia
from ansible_collections.gpulab.workstation.plugins.module_utils import _openpgp
from ansible_collections.gpulab.workstation.plugins.module_utils._used_by import users
from ansible_collections.gpulab.workstation.plugins.modules import nvidia_repository as module

KEY = (Path(__file__).parents[1] / "fixtures/packages/gpg_key_good.asc").read_bytes()
TWO_KEYS = (Path(__file__).parents[1] / "fixtures/packages/gpg_key_two.asc").read_bytes()
FINGERPRINT = "AC078FCC4CB601B3D63BB4019805047D1AA75884"


def _system(identity: str, version: str, family: str, architecture: str = "x86_64") -> Dict[str, str]:
    return {"id": identity, "version": version, "family": family, "architecture": architecture}


@pytest.mark.parametrize(
    ("system", "folder", "key"),
    [
        (_system("ubuntu", "22.04", "debian"), "ubuntu2204/x86_64", "3bf863cc.pub"),
        (_system("ubuntu", "24.04", "debian", "aarch64"), "ubuntu2404/sbsa", "3bf863cc.pub"),
        (_system("debian", "12", "debian"), "debian12/x86_64", "3bf863cc.pub"),
        (_system("debian", "13", "debian"), "debian13/x86_64", "8793F200.pub"),
        (_system("rocky", "9.5", "redhat"), "rhel9/x86_64", "D42D0685.pub"),
        (_system("centos", "10", "redhat"), "rhel10/x86_64", "CDF6BA43.pub"),
    ],
)
def test_each_distribution_has_its_folder_and_its_key(system: Dict[str, str], folder: str, key: str) -> None:
    found = nvidia.repository(system=system, mirror=nvidia.BASE)
    assert found.url == f"{nvidia.BASE}/{folder}/"
    assert found.key == key


def test_a_directory_stands_for_the_repository() -> None:
    found = nvidia.repository(system=_system("debian", "13", "debian"), mirror="/srv/nvidia")
    assert found.url == "file:///srv/nvidia/debian13/x86_64/"


def test_a_distribution_whose_key_is_not_known_is_refused_until_it_is_given() -> None:
    system = _system("ubuntu", "26.04", "debian")
    with pytest.raises(nvidia.RepositoryError, match="ubuntu2604 is not known"):
        nvidia.repository(system=system, mirror=nvidia.BASE)
    found = nvidia.repository(system=system, mirror=nvidia.BASE, key="X.pub", fingerprint=FINGERPRINT)
    assert (found.key, found.fingerprint) == ("X.pub", FINGERPRINT)


def test_the_expected_key_passes_however_its_fingerprint_is_written() -> None:
    nvidia.check_key(KEY, FINGERPRINT)
    nvidia.check_key(KEY, "AC07 8FCC 4CB6 01B3 D63B  B401 9805 047D 1AA7 5884")
    nvidia.check_key(KEY, f"sha256:{_openpgp.text_digest(KEY)}")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (KEY, "EB693B3035CD5710E231E123A4B469963BF863CC"),
        (KEY, FINGERPRINT[-16:]),
        (TWO_KEYS, FINGERPRINT),
        (KEY, "sha256:" + "0" * 64),
        (b"<html>captive portal</html>", FINGERPRINT),
    ],
    ids=["another key", "only the end of it", "a second key beside it", "another file", "no key at all"],
)
def test_any_other_key_is_refused(data: bytes, expected: str) -> None:
    with pytest.raises(nvidia.RepositoryError):
        nvidia.check_key(data, expected)


def _pins(*used_by: str) -> str:
    repo = nvidia.Repository("http://mirror.example/debian12/x86_64/", "k.pub", FINGERPRINT)
    return nvidia.apt_files(repo=repo, key="KEY", used_by=used_by)[nvidia.APT_PINS]


def _forbidden(pins: str) -> set[str]:
    paragraphs = [dict(line.split(": ", 1) for line in p.splitlines()) for p in pins.split("\n\n")]
    return {p["Pin"] for p in paragraphs if p["Pin-Priority"].strip() == "-1"}


def test_a_driver_comes_from_one_source_only() -> None:
    assert _forbidden(_pins("nvidia_driver")) == {"release o=Debian", "release o=Ubuntu"}
    assert _forbidden(_pins("cuda", "nvidia_driver")) == {"release o=Debian", "release o=Ubuntu"}
    assert _forbidden(_pins("cuda")) == {"release l=NVIDIA CUDA"}


def test_what_is_no_driver_is_pinned_before_what_is() -> None:
    # apt goes by the first record that fits a package.
    pins = _pins("nvidia_driver")
    assert pins.index("nvidia-container*") < pins.index("*nvidia* libcuda1*")


def test_the_source_says_who_uses_it_and_trusts_one_key_for_itself_only() -> None:
    repo = nvidia.Repository("http://mirror.example/debian12/x86_64/", "k.pub", FINGERPRINT)
    source = nvidia.apt_files(repo=repo, key="KEY", used_by=["cuda", "nvidia_driver"])[nvidia.APT_SOURCE]
    assert users(source) == ["cuda", "nvidia_driver"]
    assert f"Signed-By: /{nvidia.KEYRING}\n" in source
    assert users(None) == []


def test_dnf_checks_packages_and_index() -> None:
    repo = nvidia.Repository("http://mirror.example/rhel9/x86_64/", "k.pub", FINGERPRINT)
    source = nvidia.dnf_files(repo=repo, key="KEY", used_by=["nvidia_driver"])[nvidia.RPM_SOURCE]
    assert {"gpgcheck=1", "repo_gpgcheck=1", f"gpgkey=file:///{nvidia.RPM_KEY}"} <= set(source.splitlines())


@pytest.mark.parametrize(
    ("system", "compose", "paths"),
    [
        (_system("debian", "12", "debian"), nvidia.apt_files, (nvidia.KEYRING, nvidia.APT_SOURCE)),
        (_system("rocky", "9.5", "redhat"), nvidia.dnf_files, (nvidia.RPM_KEY, nvidia.RPM_SOURCE)),
    ],
    ids=["apt", "dnf"],
)
def test_who_leaves_a_repository_leaves_it_to_the_others_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    system: Dict[str, str],
    compose: Callable[..., Dict[str, str]],
    paths: Tuple[str, str],
) -> None:
    key, source = paths
    repo = nvidia.Repository("http://mirror.example/folder/", "k.pub", FINGERPRINT)
    files = {f"/{path}": text for path, text in compose(repo=repo, key="KEY", used_by=["cuda", "cudnn"]).items()}
    monkeypatch.setattr(module, "read_system", lambda places: system)
    monkeypatch.setattr(module, "read_text", files.get)
    monkeypatch.setattr(module, "write_all", files.update)
    monkeypatch.setattr(module, "quiet_runner", lambda _module: lambda argv: pytest.fail(f"{argv} is not needed"))
    leave = {"state": "absent", "used_by": "cudnn", "mirror": "http://other.example", "fingerprint": "0" * 40}
    with patch_module_args(leave), pytest.raises(SystemExit):
        module.main()
    assert json.loads(capsys.readouterr().out)["url"] == repo.url
    assert files[f"/{source}"] == compose(repo=repo, key="KEY", used_by=["cuda"])[source]
    assert files[f"/{key}"] == "KEY"
