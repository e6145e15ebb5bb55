# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell which OpenPGP keys a file holds, without gpg: a minimal image has none before its first package.

Only what is needed to say "this is the key I was told of, and nothing else": RFC 4880 packet framing and version 4
fingerprints. Signatures are for apt and dnf to check.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Iterator, List, Tuple

PUBLIC_KEY_PACKET = 6


class KeyFileError(ValueError):
    """The bytes are not a file of OpenPGP public keys."""


def dearmor(data: bytes) -> bytes:
    """Return the packets of ``data``, which may be in ASCII armour or not."""
    if not data.lstrip().startswith(b"-----BEGIN PGP"):
        return data
    # A file may hold several blocks; the header lines end at the first empty line, the checksum line starts with "=".
    begin, headers, end = (
        rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n",
        rb"(?:[^\r\n]+: [^\r\n]*\r?\n)*\r?\n",
        rb"-----END PGP PUBLIC KEY BLOCK-----",
    )
    blocks = re.findall(begin + headers + rb"(.*?)" + end, data, re.DOTALL)
    if not blocks:
        raise KeyFileError("no public key block in the armoured file")
    try:
        return b"".join(base64.b64decode(re.sub(rb"(?m)^=.*$", b"", block), validate=False) for block in blocks)
    except binascii.Error as error:
        raise KeyFileError(f"damaged armour: {error}") from error


def fingerprints(data: bytes) -> List[str]:
    """Return the fingerprint of each primary key in ``data``, in upper case, in the order of the file."""
    found = [_fingerprint(body) for tag, body in _packets(dearmor(data)) if tag == PUBLIC_KEY_PACKET]
    if not found:
        raise KeyFileError("the file holds no public key")
    return found


def text_digest(data: bytes) -> str:
    """Return the SHA-256 of an armoured file without its ``Version`` lines, as some publishers announce a key."""
    lines = [line for line in data.splitlines(keepends=True) if not line.startswith(b"Version")]
    return hashlib.sha256(b"".join(lines)).hexdigest()


def _fingerprint(body: bytes) -> str:
    if body[:1] != b"\x04":
        raise KeyFileError(f"a public key of version {body[0] if body else 'unknown'}; only version 4 is known")
    return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()


def _packets(data: bytes) -> Iterator[Tuple[int, bytes]]:
    position = 0
    while position < len(data):
        header = data[position]
        if not header & 0x80:
            raise KeyFileError("not an OpenPGP file")
        if header & 0x40:
            tag, (length, start) = header & 0x3F, _new_length(data, position + 1)
        else:
            tag, (length, start) = (header >> 2) & 0x0F, _old_length(data, position + 1, header & 0x03)
        body = data[start : start + length]
        if len(body) != length:
            raise KeyFileError("the file ends in the middle of a packet")
        yield tag, body
        position = start + length


def _new_length(data: bytes, at: int) -> Tuple[int, int]:
    """Return the length of a new-format packet's body, and where the body starts."""
    first = data[at] if at < len(data) else 255
    if first < 192:
        return first, at + 1
    if first < 224:
        return ((first - 192) << 8) + int.from_bytes(data[at + 1 : at + 2], "big") + 192, at + 2
    if first == 255:
        return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
    raise KeyFileError("a packet of partial length")


def _old_length(data: bytes, at: int, kind: int) -> Tuple[int, int]:
    """Return the length of an old-format packet's body, and where the body starts."""
    if kind == 3:
        return len(data) - at, at
    size = 1 << kind
    return int.from_bytes(data[at : at + size], "big"), at + size
