# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which sources of packages, other than this collection's own, offer NVIDIA's driver or CUDA.

The distribution's archive is not among them: what may come from it is pinned. A mirror that does not carry one of the
names below in its address is not known for what it is.
"""

from __future__ import annotations

import configparser
import glob
import os
import re
from typing import Dict, Iterator, List

from ansible_collections.gpulab.workstation.plugins.module_utils._addresses import without_secrets
from ansible_collections.gpulab.workstation.plugins.module_utils._apt_sources import parse_deb822, parse_list

OURS = ("gpulab-nvidia.sources", "gpulab-nvidia.repo")
# NVIDIA's own, which its local installers unpack on the disk, Ubuntu's of newer drivers, and those of RHEL's users.
_OFFERS = re.compile(
    r"nvidia\.com/|/(?:cuda-repo|nvidia-driver-local-repo)-|/graphics-drivers/"
    r"|rpmfusion\.org/.*nonfree|negativo17\.org/.*nvidia"
)


def foreign_sources(*, root: str = "/") -> List[Dict[str, str]]:
    """Return ``{file, uri}`` for each, in the order of the files' names."""
    patterns = ("apt/sources.list", "apt/sources.list.d/*.list", "apt/sources.list.d/*.sources", "yum.repos.d/*.repo")
    paths = [path for pattern in patterns for path in sorted(glob.glob(os.path.join(root, "etc", pattern)))]
    return [
        {"file": f"/{os.path.relpath(path, root)}", "uri": without_secrets(uri)}
        for path in paths
        if os.path.basename(path) not in OURS
        for uri in _addresses(path)
        if _OFFERS.search(uri)
    ]


def _addresses(path: str) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return
    if path.endswith(".repo"):
        yield from _dnf_addresses(text)
    else:
        yield from (source.uri for source in (parse_deb822 if path.endswith(".sources") else parse_list)(text))


def _dnf_addresses(text: str) -> Iterator[str]:
    repositories = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        repositories.read_string(text)
    except configparser.Error:
        return
    for name in repositories.sections():
        section = repositories[name]
        if section.get("enabled", "1").strip().lower() in ("1", "yes", "true", "on"):
            for key in ("baseurl", "mirrorlist", "metalink"):
                yield from section.get(key, "").split()
