# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is logged in, and whose a process is."""

from __future__ import annotations

import pwd
from typing import Any, Dict, List, Optional

from ansible_collections.gpulab.workstation.plugins.module_utils._tree import Tree

_SESSIONS = "run/systemd/sessions"


def read_sessions(tree: Tree) -> List[Dict[str, Any]]:
    """Return the sessions of people (not of the login screen, nor of services) as systemd-logind keeps them."""
    files = (name for name in tree.names(_SESSIONS) if not name.endswith(".ref"))
    sessions = (_assignments(tree.text(f"{_SESSIONS}/{name}") or "") for name in files)
    return [
        {
            "user": session["USER"],
            "seat": session.get("SEAT"),
            "type": session.get("TYPE"),
            "active": session.get("ACTIVE") == "1",
        }
        for session in sessions
        if session.get("USER") and session.get("CLASS", "user").startswith("user") and session.get("STATE") != "closing"
    ]


def name_processes(tree: Tree, processes: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Return processes with the user's name and the program's: None for a process that has gone or hides."""
    return [{**process, **_who(tree, process["pid"])} for process in processes]


def _who(tree: Tree, pid: int) -> Dict[str, Optional[str]]:
    status = _fields(tree.text(f"proc/{pid}/status") or "")
    uid = (status.get("Uid") or "").split()
    return {"user": _user(tree, int(uid[0])) if uid and uid[0].isdecimal() else None, "name": status.get("Name")}


def _user(tree: Tree, uid: int) -> str:
    """The name of a user, by number where it has none here."""
    if tree.live:
        try:
            return pwd.getpwuid(uid).pw_name  # knows the users of a directory service as well
        except (KeyError, OverflowError):
            return str(uid)
    for line in (tree.text("etc/passwd") or "").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(uid):
            return fields[0]
    return str(uid)


def _assignments(text: str) -> Dict[str, str]:
    return {key: value for key, _equals, value in (line.partition("=") for line in text.splitlines())}


def _fields(text: str) -> Dict[str, str]:
    return {key: value.strip() for key, _colon, value in (line.partition(":") for line in text.splitlines())}
