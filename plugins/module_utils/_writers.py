# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who can change what root keeps or is about to run."""

from __future__ import annotations

import os
import stat
from typing import List

from ansible_collections.gpulab.workstation.plugins.module_utils._tree import Tree


def others_may_change(place: str, *, root: str = "/") -> List[str]:
    """Return the folders on the way to ``place``, and that itself, that others than root may change, the last one last.

    Whoever may change a folder can put something else in the place of what is in it. Where its sticky bit forbids that,
    it counts only as long as nothing is there.
    """
    tree = Tree(root)
    named = tree.path(place.lstrip("/"))
    found = set()
    for end in (named, os.path.realpath(named)):
        way = [end]
        while way[-1] not in ("/", tree.root):
            way.append(os.path.dirname(way[-1]))
        there = [folder for folder in way if os.path.exists(folder)]
        found |= {folder for folder in there if not _is_roots(folder, sticky_serves=folder != there[0])}
    return sorted(os.path.normpath(os.path.join("/", os.path.relpath(folder, tree.root))) for folder in found)


def _is_roots(path: str, *, sticky_serves: bool) -> bool:
    """Return whether nobody but root may change what is in a folder, nor where a link to it leads."""
    status = os.stat(path)
    shared = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (sticky_serves and status.st_mode & stat.S_ISVTX)
    return status.st_uid == os.lstat(path).st_uid == 0 and not shared
