# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses with a user and a password in them, which reach the program that asks there and nobody else."""

from __future__ import annotations

import re
from typing import Any, Mapping, Tuple
from urllib.parse import unquote

_USERINFO = re.compile(r"""(?<=://)[^/\s"']*@""")


def without_secrets(value: Any) -> Any:
    """Return ``value`` with the user and password of every URL in it removed, for all to read."""
    if isinstance(value, str):
        return _USERINFO.sub("", value)
    if isinstance(value, Mapping):
        return {str(key): without_secrets(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_secrets(item) for item in value]
    return value


def credentials(url: str) -> Tuple[str, str]:
    """Return the user and the password in a URL as the server is to be told them; each is empty where there is none."""
    found = _USERINFO.search(url)
    user, _colon, password = found.group()[:-1].partition(":") if found else ("", "", "")
    return unquote(user), unquote(password)
