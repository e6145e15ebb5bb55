"""The fingerprints of a key file, read without gpg, agree with what gpg says of the same file."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils import _openpgp

FIXTURES = Path(__file__).parents[1] / "fixtures" / "packages"
# As `gpg --list-keys` tells them.
GOOD, EVIL = "AC078FCC4CB601B3D63BB4019805047D1AA75884", "BEC4616469D43713B53FA5D8E1AD8B3B5604AE76"


def _key(name: str) -> bytes:
    return (FIXTURES / f"gpg_key_{name}.asc").read_bytes()


def test_an_armoured_key_has_the_fingerprint_that_gpg_tells() -> None:
    assert _openpgp.fingerprints(_key("good")) == [GOOD]


def test_a_binary_key_has_the_same_fingerprint() -> None:
    assert _openpgp.fingerprints(_openpgp.dearmor(_key("good"))) == [GOOD]


def test_every_key_of_a_file_is_told_in_whatever_way_it_was_put_there() -> None:
    assert _openpgp.fingerprints(_key("two")) == [GOOD, EVIL]
    assert _openpgp.fingerprints(_key("good") + _key("two")) == [GOOD, GOOD, EVIL]


def test_a_version_line_changes_neither_fingerprint_nor_text_digest() -> None:
    plain = _key("good")
    versioned = plain.replace(b"BLOCK-----\n\n", b"BLOCK-----\nVersion: GnuPG v2\n\n", 1)
    assert _openpgp.fingerprints(versioned) == [GOOD]
    assert _openpgp.text_digest(versioned) == _openpgp.text_digest(plain)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>404</html>",
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n",
        b"\x99\x01",
        base64.b64decode("mQ=="),
        b"\x98\x02\x03\x00",
    ],
)
def test_what_is_no_key_file_is_refused(data: bytes) -> None:
    with pytest.raises(_openpgp.KeyFileError):
        _openpgp.fingerprints(data)


def test_a_key_file_that_was_cut_off_is_refused() -> None:
    whole = _openpgp.dearmor(_key("good"))
    with pytest.raises(_openpgp.KeyFileError):
        _openpgp.fingerprints(whole[:-10])
