"""NVIDIA's repository: the right folder, the right key for each distribution, and drivers of one source only."""

from __future__ import annotations

import io
import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible.module_utils.urls import open_url
from ansible_collections.gpulab.workstation.plugins.module_utils import _files, _openpgp
from ansible_collections.gpulab.workstation.plugins.module_utils import _nvidia_repository as nvidia
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


@pytest.mark.parametrize("name", ["glx-alternative-nvidia", "nvidia-kernel-common", "nvidia-support", "libcuda1"])
def test_what_nvidia_s_packages_need_of_debian_s_archive_is_not_pinned_away(name: str) -> None:
    records = [dict(line.split(": ", 1) for line in p.splitlines()) for p in _pins("nvidia_driver").split("\n\n")]
    of_debian = [record for record in records if record["Pin"] == "release o=Debian"]
    first = next(record for record in of_debian if any(fnmatchcase(name, glob) for glob in record["Package"].split()))
    assert first["Pin-Priority"] == ("-1" if name == "libcuda1" else "500")


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


DEBIAN, ROCKY = _system("debian", "13", "debian"), _system("rocky", "9.5", "redhat")
MIRROR = "https://mirror.example/nvidia"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Return what runs the module on a machine whose files are below ``tmp_path``, and returns all that it says."""

    def run(system: Dict[str, str], *, check: bool = False, **given: str) -> Dict[str, Any]:
        monkeypatch.setattr(module, "read_system", lambda places: system)
        options = {"used_by": "cuda", "fingerprint": FINGERPRINT, **given, "_ansible_check_mode": check}
        with patch_module_args({**options, "_ansible_diff": True}), pytest.raises(SystemExit):
            module.main()
        return json.loads(capsys.readouterr().out)

    def write_all(files: Dict[str, Any], **how: Any) -> None:
        _files.write_all({f"{tmp_path}{path}": text for path, text in files.items()}, **how)

    monkeypatch.setattr(module, "read_text", lambda path: _files.read_text(f"{tmp_path}{path}"))
    monkeypatch.setattr(module, "write_all", write_all)
    monkeypatch.setattr(module, "quiet_runner", lambda _module: lambda argv: (0, "", ""))
    monkeypatch.setattr(module, "open_url", lambda url, **how: io.BytesIO(KEY))
    return run


def _telling(folder: Path, secret: str) -> Dict[str, int]:
    """Return the modes of the files that hold a secret, by name."""
    files = [path for path in folder.rglob("*") if path.is_file() and secret in path.read_text()]
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o777 for path in files}


@pytest.mark.parametrize(("system", "holder"), [(DEBIAN, nvidia.APT_LOGIN), (ROCKY, nvidia.RPM_SOURCE)])
def test_a_mirrors_password_is_for_root_alone_and_goes_with_the_mirror(
    machine: Callable[..., Any], tmp_path: Path, system: Dict[str, str], holder: str
) -> None:
    secretive = {"mirror": "https://lab:top%40SECRET@mirror.example/nvidia"}
    foreseen, done = machine(system, check=True, **secretive), machine(system, **secretive)
    again = machine(system, **secretive)
    assert (foreseen["changed"], done["changed"], again["changed"]) == (True, True, False)
    assert _telling(tmp_path, "top@SECRET") == {holder: 0o600}
    assert "SECRET" not in json.dumps([foreseen, done, again])
    assert done["url"] == f"{MIRROR}/{nvidia.folder_of(system)}/x86_64/"
    # Another role's leaving takes nothing along, and a new password is a change.
    machine(system, state="present", used_by="cudnn", **secretive)
    assert machine(system, state="absent", used_by="cudnn")["url"] == done["url"]
    assert _telling(tmp_path, "top@SECRET") == {holder: 0o600}
    other = machine(system, mirror="https://lab:CHANGED@mirror.example/nvidia")
    assert other["changed"] and "CHANGED" not in json.dumps(other)
    assert _telling(tmp_path, "top@SECRET") == {} and _telling(tmp_path, "CHANGED") == {holder: 0o600}
    machine(system, mirror=MIRROR)
    assert _telling(tmp_path, "CHANGED") == {}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()} == {0o644}
    machine(system, **secretive)
    machine(system, state="absent")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(("system", "line"), [(DEBIAN, "URIs: "), (ROCKY, "baseurl=")])
@pytest.mark.parametrize("given", [{"mirror": MIRROR.replace("//", "//lab:TOPSECRET@")}, {"state": "absent"}])
def test_a_password_that_an_earlier_run_left_for_all_to_read_is_put_away(
    machine: Callable[..., Any], tmp_path: Path, system: Dict[str, str], line: str, given: Dict[str, str]
) -> None:
    machine(system, mirror=MIRROR, used_by="cudnn")
    machine(system, mirror=MIRROR)
    source = tmp_path / (nvidia.APT_SOURCE if system is DEBIAN else nvidia.RPM_SOURCE)
    source.write_text(source.read_text().replace(f"{line}https://", f"{line}https://lab:TOPSECRET@"))
    foreseen, done = machine(system, check=True, **given), machine(system, **given)
    assert foreseen["changed"] and done["changed"]
    assert list(_telling(tmp_path, "TOPSECRET").values()) == [0o600]
    assert "TOPSECRET" not in json.dumps([foreseen, done])


def test_a_mirror_that_does_not_serve_leaves_the_password_in_use_as_it_was(
    machine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine(ROCKY, mirror=MIRROR.replace("//", "//lab:FIRST@"))
    monkeypatch.setattr(module, "quiet_runner", lambda _module: lambda argv: (1, "", "https://lab:SECOND@x: 401"))
    said = machine(ROCKY, mirror=MIRROR.replace("//", "//lab:SECOND@"))
    assert said["failed"] and "SECOND" not in json.dumps(said)
    assert _telling(tmp_path, "FIRST") == {nvidia.RPM_SOURCE: 0o600}


def test_a_key_that_cannot_be_fetched_is_named_without_the_password(
    machine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "open_url", open_url)
    said = machine(DEBIAN, mirror="http://me:hunter2@127.0.0.1:9/nvidia")
    assert "The signing key http://127.0.0.1:9/nvidia/debian13/x86_64/8793F200.pub cannot be fetched" in said["msg"]
    assert "hunter2" not in json.dumps(said)


@pytest.mark.parametrize(
    "mirror", ["https://lab:a%20b@mirror.example/nvidia", "https://lab:a%0Ab@mirror.example/nvidia"]
)
def test_a_password_that_no_package_manager_could_read_is_refused(machine: Callable[..., Any], mirror: str) -> None:
    said = machine(DEBIAN, check=True, mirror=mirror)
    assert "white space" in said["msg"] and "a b" not in said["msg"]
