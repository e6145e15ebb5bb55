# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's kernel module as a file: which one modprobe would load, its version, its licence, whether it is signed."""

from __future__ import annotations

import re
import struct
from typing import Any, Dict, NamedTuple, Optional

from ansible_collections.gpulab.workstation.plugins.module_utils._tree import Tree

# nvidia.ko; Debian's nvidia-current.ko, nvidia-current-open.ko, nvidia-tesla-470.ko. Not nvidia-drm.ko nor nvidiafb.ko.
_NAME = rb"nvidia(?:-current|-tesla(?:-\d+)?|-legacy-\w+|-\d+)?(?:-open)?\.ko(?:\.(?:xz|zst|gz))?"
_LINE = re.compile(rb"^(\S*/" + _NAME + rb"):", re.MULTILINE)

_SIGNATURE = b"~Module signature appended~\n"
# Sections that are read whole have a few kilobytes; a file that claims more is no module.
_MOST_BYTES = 1 << 20

_LICENCES = {"NVIDIA": "proprietary", "Dual MIT/GPL": "open"}


class ModuleFile(NamedTuple):
    """A field is None where the file does not tell: a compressed one is not unpacked for it."""

    path: str
    version: Optional[str] = None
    flavour: Optional[str] = None
    signed: Optional[bool] = None


def find_module(tree: Tree, kernel: Optional[str]) -> Optional[ModuleFile]:
    """Return the module that a kernel would load, by its own list of modules; None where there is none for it."""
    if not kernel:
        return None
    line = _LINE.search(tree.data(f"lib/modules/{kernel}/modules.dep") or b"")
    if not line:
        return None
    path = f"lib/modules/{kernel}/{line.group(1).decode('utf-8', 'replace')}"
    if not path.endswith(".ko"):
        return ModuleFile("/" + path)
    try:
        with open(tree.path(path), "rb") as file:
            return _read(file, "/" + path)
    except (OSError, ValueError):
        return ModuleFile("/" + path)


def _read(file: Any, path: str) -> ModuleFile:
    information = modinfo(file)
    file.seek(0, 2)
    file.seek(max(0, file.tell() - len(_SIGNATURE)))
    signed = file.read() == _SIGNATURE
    return ModuleFile(path, information.get("version"), _LICENCES.get(information.get("license", "")), signed)


def modinfo(file: Any) -> Dict[str, str]:
    """Return the assignments in a module's ``.modinfo`` section; nothing for a file that is no 64-bit ELF module.

    Only the section is read: NVIDIA's module is up to a hundred megabytes.
    """
    try:
        file.seek(0)
        header = file.read(64)
        if header[:5] != b"\x7fELF\x02":
            return {}
        (sections_at,) = struct.unpack_from("<Q", header, 40)
        size, count, names_index = struct.unpack_from("<HHH", header, 58)
        table = _part(file, sections_at, size * count)
        sections = [struct.unpack_from("<IIQQQQ", table, size * index) for index in range(count)]
        names = _part(file, *sections[names_index][4:6])
        for section in sections:
            if names[section[0] : names.index(b"\0", section[0])] == b".modinfo":
                pairs = (item.partition(b"=") for item in _part(file, *section[4:6]).split(b"\0"))
                return {key.decode(): value.decode("utf-8", "replace") for key, equals, value in pairs if equals}
    except (OSError, struct.error, ValueError, IndexError, OverflowError):
        pass
    return {}


def _part(file: Any, offset: int, size: int) -> bytes:
    file.seek(offset)
    return bytes(file.read(min(size, _MOST_BYTES)))
