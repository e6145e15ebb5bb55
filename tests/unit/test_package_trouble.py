"""A failed run ends with its cause, not with the package manager's last line."""

from __future__ import annotations

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils._package_trouble import explain


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        (
            "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 4242 (unattended-upgr)\n"
            "E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?",
            "process 4242 (unattended-upgr) holds /var/lib/dpkg/lock-frontend",
        ),
        (
            "RPMDB already locked by 17\n  The application with PID 17 is: dnf\n    Memory : 1.3 M RSS",
            "process 17 (dnf) holds dnf's lock",
        ),
        ("mkdir: cannot create directory '/opt/x': Read-only file system", "is mounted read-only"),
        ("[Errno 30] Das Dateisystem ist nur lesbar: '/opt/x'", "is mounted read-only"),
        ("[Errno 28] Auf dem Gerät ist kein Speicherplatz mehr verfügbar: '/opt/x'", "The disk is full"),
        (
            "E: Release file for file:/srv/apt/InRelease is not valid yet (invalid for another 2299d 3h 4min 21s).",
            "See what `timedatectl` says",
        ),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate is not yet valid", "set the clock"),
        ("E: You don't have enough free space in /var/cache/apt/archives/.", "The disk is full"),
        ("dpkg: error processing archive x.deb: cannot copy: No space left on device", "The disk is full"),
        ("Error: At least 512MB more space needed on the / filesystem.", "The disk is full"),
        (
            "Error! Bad return status for module build on kernel: 6.18.0-1-amd64 (x86_64)\n"
            "Consult /var/lib/dkms/nvidia-current/535.261.03/build/make.log for more information.\n"
            "dpkg: error processing package nvidia-kernel-dkms (--configure):\n"
            "E: Sub-process /usr/bin/dpkg returned an error code (1)",
            "does not compile for kernel 6.18.0-1-amd64",
        ),
        (
            "W: GPG error: http://mirror.example InRelease: The following signatures couldn't be verified because the"
            " public key is not available: NO_PUBKEY A4B469963BF863CC",
            "signed by key A4B469963BF863CC, which this machine was not told to trust",
        ),
        ("The following signatures were invalid: EXPKEYSIG A4B469963BF863CC cudatools", "A4B469963BF863CC, by which"),
        ("The following signatures were invalid: BADSIG A4B469963BF863CC cudatools", "index was changed after"),
        ("E: The repository 'http://mirror.example  InRelease' is not signed.", "http://mirror.example  InRelease"),
        (
            "E: Failed to fetch file:/srv/apt/debian/pool/main/d/dkms/dkms_3.0.10-8%2bdeb12u1_all.deb"
            "  File not found - /srv/apt/debian/pool/main/d/dkms/dkms_3.0.10-8+deb12u1_all.deb"
            " (2: No such file or directory)\nE: Unable to fetch some archives, maybe run apt-get update",
            "dkms_3.0.10-8%2bdeb12u1_all.deb is not in the folder that stands in for its archive",
        ),
        (
            "Package nvidia-smi-1-1.x86_64.rpm is not signed\nError: GPG check FAILED",
            "nvidia-smi-1-1.x86_64.rpm is not signed",
        ),
        (
            "Error: Failed to download metadata for repo 'x': repomd.xml GPG signature verification error: Bad GPG"
            " signature",
            "The index of repository x does not bear the signature of its key",
        ),
        (
            "Error: Failed to download metadata for repo 'x': Cannot download repomd.xml: Cannot download"
            " repodata/repomd.xml: All mirrors were tried",
            "cannot be reached",
        ),
        (
            "[MIRROR] x.rpm: Downloading successful, but checksum doesn't match. Calculated: 1(sha256)\n"
            "  x-1-1.x86_64: Cannot download, all mirrors were already tried without success",
            "is not the one that the signed index",
        ),
        ("No match for argument: x-1-1\nError: Unable to find a match: x-1-1", "offers x-1-1."),
        ("Error: GPG check FAILED", "not signed by the repository's key"),
        ("E: Failed to fetch http://mirror.example/x.deb  Hash Sum mismatch", "is not the one that the signed index"),
        ("E: Failed to fetch http://mirror.example/x.deb  404  Not Found", "cannot be reached"),
        (
            " nvidia-driver-550 : Depends: libnvidia-gl-550 (= 550.54) but 550.90 is to be installed",
            "libnvidia-gl-550 = 550.54 is needed, but 550.90 is to be installed",
        ),
        (
            " - nothing provides dkms needed by kmod-nvidia-open-dkms-3:580.95.05-1.el9.noarch from cuda",
            "kmod-nvidia-open-dkms-3:580.95.05-1.el9.noarch needs dkms",
        ),
        ("E: dpkg was interrupted, you must manually run 'dpkg --configure -a'", "goes on where it stopped"),
    ],
)
def test_the_cause_is_named(output: str, cause: str) -> None:
    assert cause in explain(output)


def test_the_root_cause_comes_before_what_it_led_to() -> None:
    output = "No space left on device\nError! Bad return status for module build on kernel: 6.1 (x86_64)"
    assert explain(output).startswith("The disk is full")


def test_the_last_words_of_the_program_are_kept() -> None:
    assert explain("one\n\ntwo\n") == "one\ntwo"
    assert explain("No space left on device\nlast words").endswith("last words")


def test_a_mirrors_password_is_not_repeated() -> None:
    said = explain("Failed to download metadata: https://me:hunter2@mirror.example/repodata/repomd.xml [401]")
    assert "cannot be reached" in said and "https://mirror.example/repodata" in said and "hunter2" not in said
