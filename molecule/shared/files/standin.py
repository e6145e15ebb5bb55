"""STAND-INS that scenarios share, made on the mirror: the keys that sign repositories, and a kernel module."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

# Name, when it was made, how long it is good for. An expired key signs in the time when it was good.
KEYS = {"good": (None, "never"), "epel": (None, "never"), "evil": (None, "never"), "expired": ("20240101T000000", "1y")}


def signing_keys(www: Path) -> None:
    """Make the keys, and put ``NAME.asc`` and ``NAME.fingerprint`` where machines can fetch them."""
    home = www.parent / "keys"
    home.mkdir(mode=0o700)
    os.environ["GNUPGHOME"] = str(home)
    for name, (_made, life) in KEYS.items():
        _gpg(
            name,
            "--passphrase",
            "",
            "--quick-gen-key",
            f"Stand-in {name} <{name}@example.invalid>",
            "rsa2048",
            "sign",
            life,
        )
        (www / f"{name}.asc").write_text(_gpg(name, "--armor", "--export", f"{name}@example.invalid"))
        listing = _gpg(name, "--with-colons", "--list-keys", f"{name}@example.invalid")
        fingerprint = next(line for line in listing.splitlines() if line.startswith("fpr:")).split(":")[9]
        (www / f"{name}.fingerprint").write_text(fingerprint)


def sign(file: Path, key: str, *, how: str, to: str) -> None:
    """Sign a file, ``--clearsign`` or ``--detach-sign``, into a file beside it."""
    _gpg(key, "--yes", "--armor", "-u", f"{key}@example.invalid", "-o", str(file.with_name(to)), how, str(file))


def kernel_module(file: Path, *, version: str, licence: str) -> None:
    """Make a file that modinfo and depmod take for a module of that version, with no code in it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder)
        (part / "modinfo").write_bytes(f"version={version}\0license={licence}\0".encode())
        (part / "empty.s").write_text("")
        subprocess.run(["as", "-o", part / "empty.o", part / "empty.s"], check=True)
        add = ["--add-section", f".modinfo={part / 'modinfo'}", "--set-section-flags", ".modinfo=alloc,readonly"]
        subprocess.run(["objcopy", *add, part / "empty.o", file], check=True)


def _gpg(key: str, *words: str) -> str:
    made = KEYS[key][0]
    command = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback"]
    command += ["--faked-system-time", f"{made}!"] if made else []
    return subprocess.run([*command, *words], check=True, capture_output=True, text=True).stdout
