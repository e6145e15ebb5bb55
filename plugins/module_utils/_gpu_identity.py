# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an NVIDIA GPU is, told from its PCI device id alone, before any driver."""

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Optional, Tuple

from ansible_collections.gpulab.workstation.plugins.module_utils._pci_ids import CHIPS, RANGES


class Identity(NamedTuple):
    """``source`` is ``table`` for a listed id, ``range`` for an inferred one; a field that is not known is None."""

    source: Optional[str] = None
    name: Optional[str] = None
    chip: Optional[str] = None
    architecture: Optional[str] = None
    compute_capability: Optional[str] = None
    kernel_modules: Optional[str] = None
    last_branch: Optional[str] = None


# Chips are numbered in blocks of 64 ids: a product that is not listed is one more of the chip in its block.
_BLOCK = 64


def identify(device_id: int) -> Identity:
    """Return what is known of a device id of vendor 0x10de."""
    line = f"\n{device_id:04x} "
    at = CHIPS.find(line)
    if at < 0:
        return _infer(device_id)
    name = CHIPS[at + len(line) : CHIPS.index("\n", at + 1)]
    start = CHIPS.rindex("# ", 0, at) + 2
    chip, *family = CHIPS[start : CHIPS.index("\n", start)].split()
    return Identity("table", name, chip, *_known(family))


def _infer(device_id: int) -> Identity:
    relatives = {family for listed, family in _listed() if listed // _BLOCK == device_id // _BLOCK}
    families = sorted(relatives) or [family for first, last, family in _ranges() if first <= device_id <= last][:1]
    if not families:
        return Identity()
    architecture, capability, modules, branch = (_agreed(list(values)) for values in zip(*families))
    if modules is None and {family[2] for family in families} == {"either", "open"}:
        modules = "open"  # runs on both kinds
    return Identity("range", None, None, architecture, capability, modules, branch)


def _agreed(values: List[str]) -> Optional[str]:
    return _known(values)[0] if len(set(values)) == 1 else None


def _known(values: List[str]) -> List[Optional[str]]:
    return [None if value == "-" else value for value in values]


def _listed() -> Iterator[Tuple[int, Tuple[str, ...]]]:
    family: Tuple[str, ...] = ()
    for line in CHIPS.splitlines():
        if line.startswith("# "):
            family = tuple(line.split()[2:])
        else:
            yield int(line[:4], 16), family


def _ranges() -> Iterator[Tuple[int, int, Tuple[str, ...]]]:
    for line in RANGES.splitlines():
        first, last, *family = line.split()
        yield int(first, 16), int(last, 16), tuple(family)
