# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch files by their checksum."""

from __future__ import annotations

import hashlib
import shutil
import sys
import urllib.request
from pathlib import Path


def download(url: str, to: Path, digest: str) -> None:
    """Fetch a file that is to have this SHA-256."""
    with urllib.request.urlopen(url, timeout=60) as answer, to.open("wb") as file:
        shutil.copyfileobj(answer, file)
    if sha256(to) != digest:
        sys.exit(f"{url} has the SHA-256 {sha256(to)} and not {digest}.")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
