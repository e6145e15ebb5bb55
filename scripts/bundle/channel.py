# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a conda channel that has the packages of locks and no others."""

from __future__ import annotations

import json
import re
import sys
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bundle.files import download

# In an index, packages of the older format stand apart from those of the newer one.
SECTIONS = {".tar.bz2": "packages", ".conda": "packages.conda"}
# Both are looked for in every channel, also where they are empty.
SUBDIRS = ("linux-64", "noarch")


def fetch_channel(locks: Iterable[str], to: Path) -> None:
    """Fetch the packages that the locks name, as ``conda list --explicit --sha256`` writes them, into a channel."""
    wanted: dict[str, dict[str, str]] = defaultdict(dict)
    for lock in locks:
        for line in lock.splitlines():
            if "://" not in line:
                continue
            url, _hash, digest = line.strip().partition("#")
            if not re.fullmatch("[0-9a-f]{64}", digest):
                sys.exit(f"The conda lock has no SHA-256 for {url}. Write it with conda list --explicit --sha256.")
            wanted[url.rpartition("/")[0]][url] = digest
    indexes: dict[str, Any] = {subdir: _empty(subdir) for subdir in SUBDIRS}
    for place, files in wanted.items():
        with urllib.request.urlopen(f"{place}/repodata.json", timeout=60) as answer:
            published = json.load(answer)
        subdir = place.rpartition("/")[2]
        (to / subdir).mkdir(parents=True, exist_ok=True)
        for url, digest in files.items():
            name = urllib.parse.unquote(url.rpartition("/")[2])
            section = next(section for ending, section in SECTIONS.items() if name.endswith(ending))
            if name not in published[section]:
                sys.exit(f"{place} has no {name} any more. Solve the environment again, and write its lock.")
            indexes[subdir][section][name] = published[section][name]
            download(url, to / subdir / name, digest)
    for subdir, index in indexes.items():
        (to / subdir).mkdir(parents=True, exist_ok=True)
        (to / subdir / "repodata.json").write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")


def _empty(subdir: str) -> dict[str, Any]:
    return {"info": {"subdir": subdir}, "packages": {}, "packages.conda": {}, "removed": [], "repodata_version": 1}
