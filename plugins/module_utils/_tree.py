# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a machine's files: the running one's, or those of an image, a chroot or a test tree mounted somewhere.

Nothing here raises for a file that is absent, unreadable or strange: what cannot be read is None, or empty.
"""

from __future__ import annotations

import os
from typing import List, Optional

_MOST_LINKS = 40


class Tree:
    """The file system below ``root``. Paths are written without the leading slash."""

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.realpath(root)
        self.live = self.root == "/"

    def path(self, path: str) -> str:
        """Return where a path of the tree lies here, its links followed as if the tree were ``/``."""
        if self.live:
            return "/" + path
        resolved: List[str] = []
        pending = path.split("/")[::-1]
        links = 0
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                resolved = resolved[:-1]
                continue
            here = os.path.join(self.root, *resolved, part)
            target = _readlink(here) if links < _MOST_LINKS else None
            if target is None:
                resolved.append(part)
                continue
            links += 1
            if target.startswith("/"):
                resolved = []
            pending += target.split("/")[::-1]
        return os.path.join(self.root, *resolved)

    def data(self, path: str, limit: int = -1) -> Optional[bytes]:
        """Return a file's first ``limit`` bytes, or all of it."""
        try:
            with open(self.path(path), "rb") as file:
                return file.read(limit)
        except (OSError, ValueError):
            return None

    def text(self, path: str, limit: int = -1) -> Optional[str]:
        """Return a file's text without white space at the ends."""
        data = self.data(path, limit)
        return None if data is None else data.decode("utf-8", "replace").strip()

    def names(self, path: str) -> List[str]:
        """Return the names in a directory, sorted."""
        try:
            return sorted(os.listdir(self.path(path)))
        except (OSError, ValueError):
            return []

    def exists(self, path: str) -> bool:
        return os.path.exists(self.path(path))

    def real_name(self, path: str) -> str:
        """Return the last part of a path once all its links are followed."""
        return os.path.basename(os.path.realpath(self.path(path)) if self.live else self.path(path))

    def link_name(self, path: str) -> Optional[str]:
        """Return the last part of what a symbolic link points to: in sysfs, the name of a driver or a module."""
        parent, _slash, name = path.rpartition("/")
        target = _readlink(os.path.join(self.path(parent), name))
        return None if target is None else os.path.basename(target)


def _readlink(path: str) -> Optional[str]:
    try:
        return os.readlink(path)
    except (OSError, ValueError):
        return None
