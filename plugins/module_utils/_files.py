# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small text files that are there or not, and replaced as a whole."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Callable, Dict, Mapping, Optional


def read_text(path: str) -> Optional[str]:
    """Return a file's text; None where there is no file."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None


def exposed(path: str, mode: int) -> bool:
    """Return whether others may do more with a file than ``mode`` lets them."""
    return bool(os.stat(path).st_mode & 0o777 & ~mode)


class NotWritten(RuntimeError):
    """A file cannot be written; the message says which and why, such as that the disk is full."""


def write_text(path: str, text: Optional[str], *, mode: int = 0o644) -> None:
    """Put ``text`` into a file that everybody can read, or as ``mode`` says, at once; None removes the file.

    Raises:
        NotWritten: It cannot be done. The file is as it was.
    """
    if text == read_text(path) and (text is None or not exposed(path, mode)):
        return
    draft = f"{path}.new"
    try:
        if text is None:
            os.unlink(path)
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        # At no moment can those read it who are not to.
        with open(draft, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(text)
        os.chmod(draft, mode)
        os.replace(draft, path)
    except OSError as error:
        with suppress(OSError):
            os.unlink(draft)
        raise NotWritten(f"{path} cannot be written: {error.strerror}.") from error


def write_all(
    files: Mapping[str, Optional[str]], *, mode: Callable[[str], int] = lambda text: 0o644
) -> Dict[str, Optional[str]]:
    """Give each file its text, or none of them; return what they had before. A file's text decides on its ``mode``.

    Raises:
        NotWritten: One of them cannot be written.
    """
    before = {path: read_text(path) for path in files}
    try:
        for path, text in files.items():
            write_text(path, text, mode=mode(text or ""))
    except NotWritten:
        for path, text in before.items():
            write_text(path, text, mode=mode(text or ""))
        raise
    return before
