# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A package source that several roles use says so in its file, and goes with the last of them."""

from __future__ import annotations

import re
from typing import Iterable, List, Optional

_USED_BY = "# Used by: "


def users(source: Optional[str]) -> List[str]:
    """Return who uses a source, as the text of its file tells; nobody uses one that is not there."""
    line = re.search(rf"(?m)^{_USED_BY}(.*)$", source or "")
    return line.group(1).split(", ") if line else []


def users_then(source: Optional[str], role: str, state: str) -> List[str]:
    """Return who uses it when ``role`` has begun to ("present") or has left it ("absent")."""
    others = set(users(source)) - {role}
    return sorted(others | {role} if state == "present" else others)


def used_by_line(roles: Iterable[str]) -> str:
    """Return the line that tells."""
    return f"{_USED_BY}{', '.join(roles)}"
