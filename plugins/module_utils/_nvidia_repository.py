# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's package repository as a machine should have it: where it is, which key signs it, what may come from it.

Keys and folders: NVIDIA's CUDA Installation Guide for Linux, and the repositories themselves, as of 2026-11. The keys
differ by distribution: the one of 2022 is refused by Debian 13, and EL 10 has its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Sequence

from ansible_collections.gpulab.workstation.plugins.module_utils import _openpgp, _used_by
from ansible_collections.gpulab.workstation.plugins.module_utils._addresses import credentials, without_secrets

BASE = "https://developer.download.nvidia.com/compute/cuda/repos"

_OLD_KEY = ("3bf863cc.pub", "EB693B3035CD5710E231E123A4B469963BF863CC")
# File of the key, and what proves it: the fingerprint, or "sha256:" of the file without its Version lines where the
# publisher's full fingerprint is not known. A distribution that is missing here needs both as inputs.
KEYS = {
    "ubuntu2204": _OLD_KEY,
    "ubuntu2404": _OLD_KEY,
    "debian12": _OLD_KEY,
    "debian13": ("8793F200.pub", "02182E60104FCDC26EAE1B8597A5D4CB8793F200"),
    "rhel9": ("D42D0685.pub", "610C7B14E068A878070DA4E99CD0A493D42D0685"),
    "rhel10": ("CDF6BA43.pub", "sha256:afbea87d3b979b3788ef34223aeeb323ade481128e2c133723ae99b8a51368bb"),
}

KEYRING = "usr/share/keyrings/gpulab-nvidia.asc"
APT_SOURCE = "etc/apt/sources.list.d/gpulab-nvidia.sources"
# apt goes by the first record that fits: this file has to come, by its name, before the one that pins a version.
APT_PINS = "etc/apt/preferences.d/gpulab-nvidia-archives.pref"
# apt takes a mirror's user and password from here, and from no file of another ending.
APT_LOGIN = "etc/apt/auth.conf.d/gpulab-nvidia.conf"
RPM_KEY = "etc/pki/rpm-gpg/RPM-GPG-KEY-gpulab-nvidia"
RPM_SOURCE = "etc/yum.repos.d/gpulab-nvidia.repo"
APT_FILES = (KEYRING, APT_SOURCE, APT_PINS, APT_LOGIN)
DNF_FILES = (RPM_KEY, RPM_SOURCE)

# The role that takes the driver from the repository.
DRIVER_ROLE = "nvidia_driver"
# What the repository calls itself in its Release file; a mirror cannot change it, for it is signed.
NVIDIA = "release l=NVIDIA CUDA"

# The driver's packages, by the names that the repository and the distributions' archives have in common.
_DRIVER = "*nvidia* libcuda1* libcudadebugger1 libnvcuvid1 libnvoptix1 cuda-drivers* firmware-nvidia-gsp libxnvctrl*"
# They carry NVIDIA's name and are no part of the driver.
_TOOLS = (
    "nvidia-container* libnvidia-container* nvidia-cuda-* nvidia-cudnn* nvidia-gds* nvidia-fs* nvidia-detect"
    " nvidia-support nvidia-installer-cleanup nvidia-driver-assistant"
)
# NVIDIA's packages for Debian depend on these, which are Debian's own (contrib).
_DEBIAN_S = "glx-alternative-nvidia nvidia-kernel-common"


class RepositoryError(RuntimeError):
    """The repository cannot be used as asked; the message says why."""


@dataclass(frozen=True)
class Repository:
    """One system's folder of the repository.

    Attributes:
        url: Its address, with a "/" at the end; a directory of this machine begins with "file:".
        key: Name of the key's file in it.
        fingerprint: What proves the key.
        user: Whom the mirror lets in; anyone where it is empty.
        password: The user's.
    """

    url: str
    key: str
    fingerprint: str
    user: str = ""
    password: str = field(default="", repr=False)


def repository(*, system: Mapping[str, Any], mirror: str, key: str = "", fingerprint: str = "") -> Repository:
    """Return the folder for ``system`` (id, version, family, architecture) below ``mirror``, a URL or a directory.

    Raises:
        RepositoryError: The system's key is not known, and none was given; or the mirror's password cannot be written.
    """
    folder = folder_of(system)
    known_key, known_fingerprint = KEYS.get(folder, ("", ""))
    key, fingerprint = key or known_key, fingerprint or known_fingerprint
    if not (key and fingerprint):
        raise RepositoryError(
            f"The key that signs NVIDIA's packages for {folder} is not known here."
            " Look it up at NVIDIA, and give its file name and its fingerprint."
        )
    base = f"file://{mirror}" if mirror.startswith("/") else without_secrets(mirror)
    user, password = credentials(mirror)
    if re.search(r"[\s\x00-\x1f\x7f]", user + password):
        raise RepositoryError(
            f"The user or the password for {base} has white space or a control character in it, which no package"
            " manager could read. Have the mirror give another one."
        )
    architecture = "sbsa" if system["architecture"] == "aarch64" else system["architecture"]
    return Repository(f"{base.rstrip('/')}/{folder}/{architecture}/", key, fingerprint, user, password)


def folder_of(system: Mapping[str, Any]) -> str:
    """Return what NVIDIA calls a distribution: ubuntu2404, debian13, rhel9."""
    if system["id"] == "ubuntu":
        return f"ubuntu{system['version'].replace('.', '')}"
    name = "rhel" if system["family"] == "redhat" else system["id"]
    return f"{name}{system['version'].split('.')[0]}"


def superseded(system: Mapping[str, Any]) -> List[str]:
    """Return the paths at which NVIDIA's own instructions set up the same repository."""
    folder, architecture = folder_of(system), system["architecture"]
    if system["family"] == "redhat":
        return [f"/etc/yum.repos.d/cuda-{folder}.repo"]
    return [
        f"/etc/apt/sources.list.d/cuda-{folder}-{architecture}.list",
        "/etc/apt/preferences.d/cuda-repository-pin-600",
    ]


def check_key(data: bytes, expected: str) -> None:
    """Assert that a key file holds the expected key and no other.

    Raises:
        RepositoryError: It does not.
    """
    if expected.startswith("sha256:"):
        found = f"sha256:{_openpgp.text_digest(data)}"
        if found != expected:
            raise RepositoryError(f"The signing key is not the one expected: {found}, not {expected}.")
        return
    try:
        keys = _openpgp.fingerprints(data)
    except _openpgp.KeyFileError as error:
        raise RepositoryError(f"The signing key's file cannot be read: {error}.") from error
    wanted = re.sub(r"\s", "", expected).upper()
    if keys != [wanted]:
        raise RepositoryError(f"The signing key is not the one expected: {', '.join(keys)}, not {wanted}.")


def standing(text: str) -> Repository:
    """Return the repository that the text of a machine's files tells of, without its key."""

    def said(names: str) -> str:
        line = re.search(rf"(?m)^(?:{names})(.*)$", text)
        return line.group(1) if line else ""

    url = said("URIs: |baseurl=")
    user, password = credentials(url)
    user, password = user or said("login |username="), password or said("password |password=")
    return Repository(without_secrets(url), key="", fingerprint="", user=user, password=password)


def mode(text: str) -> int:
    """Return the mode of a file with this text: what has a password in it is for root alone."""
    return 0o644 if shown(text) == text else 0o600


def shown(text: str) -> str:
    """Return a file's text for all to read."""
    return re.sub(r"(?m)^(login |username=|password[ =]).*$", r"\1********", without_secrets(text))


def apt_files(*, repo: Repository, key: str, used_by: Sequence[str]) -> Dict[str, str]:
    """Return the files that make apt use ``repo``, by their path from the root.

    Args:
        repo: The repository.
        key: The text of its signing key, in ASCII armour.
        used_by: The roles that take packages from it. Unless the driver's is among them, apt is told to take no
            driver from there; if it is, to take none from the distribution.
    """
    archive = [f"release o={origin}" for origin in ("Debian", "Ubuntu")]
    pins = [_pin(_TOOLS, source, 500) for source in [NVIDIA, *archive]]
    if DRIVER_ROLE in used_by:
        pins += [_pin(_DEBIAN_S, "release o=Debian", 500), *(_pin(_DRIVER, source, -1) for source in archive)]
    else:
        pins.append(_pin(_DRIVER, NVIDIA, -1))
    source = f"{_used_by.used_by_line(used_by)}\nTypes: deb\nURIs: {repo.url}\nSuites: /\nSigned-By: /{KEYRING}\n"
    files = {KEYRING: key, APT_SOURCE: source, APT_PINS: "\n".join(pins)}
    login = _login(repo, user="login ", password="password ")
    if login:
        files[APT_LOGIN] = "\n".join([f"machine {repo.url}", *login]) + "\n"
    return files


def dnf_files(*, repo: Repository, key: str, used_by: Sequence[str]) -> Dict[str, str]:
    """Return the files that make dnf use ``repo``, by their path from the root."""
    lines = [
        _used_by.used_by_line(used_by),
        "[gpulab-nvidia]",
        "name=NVIDIA",
        f"baseurl={repo.url}",
        *_login(repo, user="username=", password="password="),
        "enabled=1",
        "gpgcheck=1",
        "repo_gpgcheck=1",
        f"gpgkey=file:///{RPM_KEY}",
        # A source that cannot be reached or is signed by somebody else is an error, not an empty shelf.
        "skip_if_unavailable=0",
    ]
    return {RPM_KEY: key, RPM_SOURCE: "\n".join(lines) + "\n"}


def _login(repo: Repository, *, user: str, password: str) -> List[str]:
    """Return the lines that tell what the mirror is to be told, each with its beginning."""
    return [f"{begin}{value}" for begin, value in ((user, repo.user), (password, repo.password)) if value]


def _pin(packages: str, source: str, priority: int) -> str:
    return f"Package: {packages}\nPin: {source}\nPin-Priority: {priority}\n"
