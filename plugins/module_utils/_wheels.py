# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wheels that the environments of one folder have in common: uv's cache, whose files it links into each of them.

So they take no room of their own, and an environment that is built anew fetches only what is new in it. A file that
somebody edits in an environment is edited here too. Therefore nothing is taken from here before it was compared with
the hashes that its wheel came with; those were part of the file that the lock's hash vouched for.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import fcntl
import glob
import hashlib
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import Callable, Iterator, List


@contextlib.contextmanager
def held(folder: str) -> Iterator[str]:
    """Hold the folder for one installation, with nothing but sound wheels in it. Gives "" while another run has it."""
    if not folder:
        yield ""
        return
    os.makedirs(folder, mode=0o700, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if not _taken(descriptor, folder):
            yield ""
            return
        _keep(folder, sound)
        yield folder
    finally:
        os.close(descriptor)


def trim(folder: str) -> None:
    """Remove the wheels that no environment has any more, unless another run holds the folder; it does so itself."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        if _taken(descriptor, folder) and not _keep(folder, linked):
            shutil.rmtree(folder)
    finally:
        os.close(descriptor)


def sound(wheel: str) -> bool:
    """Return whether every file of an unpacked wheel is the one that its RECORD has the hash of."""
    records = glob.glob(os.path.join(glob.escape(wheel), "*.dist-info", "RECORD"))
    try:
        with open(records[0], encoding="utf-8", newline="") as file:
            return all(_digest(os.path.join(wheel, path), hash_) == hash_ for path, hash_, _size in csv.reader(file))
    except (IndexError, OSError, ValueError):
        return False


def linked(wheel: str) -> bool:
    """Return whether an environment has the files of this unpacked wheel."""
    found = glob.glob(os.path.join(glob.escape(wheel), "*.dist-info", "METADATA"))
    return any(os.stat(path).st_nlink > 1 for path in found)


def _taken(descriptor: int, folder: str) -> bool:
    """Lock the folder. Return whether that went, and it was not removed in between."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(descriptor), os.stat(folder))
    except (BlockingIOError, FileNotFoundError):
        return False


def _keep(folder: str, good: Callable[[str], bool]) -> List[str]:
    """Remove all unpacked wheels but the good ones, and what a killed uv left. Return those kept."""
    wheels = _find(folder, "archive-v*", "*")
    # Hashing lets go of the interpreter's lock.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        kept = [wheel for wheel, is_good in zip(wheels, pool.map(good, wheels)) if is_good]
    gone = set(wheels) - set(kept)
    # uv notes where it unpacked a wheel, and of a local file it does not look whether that is still there.
    notes = [path for path in _find(folder, "wheels-v*", "**") if path.endswith((".http", ".rev"))] if gone else []
    for path in notes:
        with open(path, "rb") as file:
            text = file.read()
        if any(os.path.basename(wheel).encode() in text for wheel in gone):
            os.unlink(path)
    for path in [*gone, *_find(folder, ".tmp*")]:
        shutil.rmtree(path)
    return kept


def _find(folder: str, *pattern: str) -> List[str]:
    return glob.glob(os.path.join(glob.escape(folder), *pattern), recursive=True)


def _digest(path: str, like: str) -> str:
    """Return a file's hash in the form of a RECORD, by the algorithm of another one."""
    algorithm, equals, _value = like.partition("=")
    if not equals:
        # A RECORD has no hash of itself.
        return like
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return f"{algorithm}={base64.urlsafe_b64encode(digest.digest()).rstrip(b'=').decode()}"
