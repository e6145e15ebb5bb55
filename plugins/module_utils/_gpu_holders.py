# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who computes on the GPUs while NVIDIA's own tools do not answer: by the device nodes that processes have open.

A driver whose libraries were upgraded under it tells nobody anything, and the programs that began before go on. Each of
them has nvidia-uvm open, which CUDA needs and drawing does not, and the nodes of its GPUs.
"""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Set

from ansible_collections.gpulab.workstation.plugins.module_utils._tree import Tree

_UVM = "nvidia-uvm"
# Services of the driver may have it open as well, and compute nothing. The kernel keeps 15 characters of their names.
_SERVICES = ("nvidia-persiste", "nv-fabricmanage")


def read_holders(tree: Tree, addresses: List[Optional[str]]) -> List[List[Dict[str, Any]]]:
    """Return the processes that compute on each of the GPUs at ``addresses``; on all, where their nodes do not tell."""
    computing = {pid: nodes for pid, nodes in _open_nodes(tree).items() if _UVM in nodes and not _serves(tree, pid)}
    return [
        [
            {"pid": pid, "kind": "compute", "memory_mib": None}
            for pid, nodes in sorted(computing.items())
            if nodes == {_UVM} or node in (None, *nodes)
        ]
        for node in (_node(tree, address) for address in addresses)
    ]


def _open_nodes(tree: Tree) -> Dict[int, Set[str]]:
    """Return the nodes of NVIDIA's that each process has open. Those of other users' processes only root may see."""
    opened = {}
    for pid in filter(str.isdecimal, tree.names("proc")):
        links = (tree.link_name(f"proc/{pid}/fd/{number}") or "" for number in tree.names(f"proc/{pid}/fd"))
        # A node that was made anew since has " (deleted)" after its name.
        names = (link.partition(" ")[0] for link in links)
        opened[int(pid)] = {name for name in names if re.fullmatch(rf"{_UVM}|nvidia\d+", name)}
    return opened


def _serves(tree: Tree, pid: int) -> bool:
    return tree.text(f"proc/{pid}/comm") in _SERVICES


def _node(tree: Tree, address: Optional[str]) -> Optional[str]:
    """Return the name of a GPU's node, as the loaded driver tells it."""
    information = tree.text(f"proc/driver/nvidia/gpus/{address}/information") or ""
    minor = re.search(r"(?m)^Device Minor:\s*(\d+)", information)
    return f"nvidia{minor.group(1)}" if minor else None
