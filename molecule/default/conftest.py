"""The machine's files, and which of them the runs wrote."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

# What molecule/shared/prepare.yml wrote down.
BEFORE = "/etc/files-before-the-run"

# Whole folders and single files that the system keeps for itself, or that the packages' own scripts make.
SYSTEMS_OWN = re.compile(
    r"/usr/(?!local/)"
    r"|/(proc|sys|dev|run|tmp|boot|var/(tmp|log)|var/lib/(apt|dpkg|systemd|dbus|python)|var/cache/(apt|debconf|ldconfig))(/|$)"
    r"|/root/\.ansible(/|$)"
    r"|/etc/(alternatives|rc.\.d|init\.d)/"
    r"|/etc/(modules|ld\.so\.cache|machine-id|\.pwd\.lock|resolv\.conf|files-before-the-run)$"
)


class Entry(NamedTuple):
    kind: str
    owner: str
    mode: str

    def __str__(self) -> str:
        return f"{self.kind} {self.owner} {self.mode}"


@pytest.fixture(scope="module")
def tree(host) -> dict[str, Entry]:
    """The machine's files, but those of /proc and its like."""
    listed = host.check_output("find / -xdev -printf '%y\\t%u:%g\\t%m\\t%p\\n'")
    found = (line.split("\t", 3) for line in listed.splitlines())
    return {path: Entry(kind, owner, mode) for kind, owner, mode, path in found}


@pytest.fixture(scope="module")
def written(host, tree) -> dict[str, Entry]:
    """What was not there before, and is no package's."""
    before = set(host.file(BEFORE).content_string.splitlines())
    packaged = set(host.check_output("cat /var/lib/dpkg/info/*.list").splitlines())
    new = tree.keys() - before - packaged
    return {path: tree[path] for path in new if not SYSTEMS_OWN.match(path)}
