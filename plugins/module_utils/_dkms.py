# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key that a machine's administrator has told DKMS to sign modules with."""

from __future__ import annotations

import re
from typing import Dict, Optional, Tuple

from ansible_collections.gpulab.workstation.plugins.module_utils._tree import Tree

# DKMS's own certificate, also of a key that is told of without one.
CERTIFICATE = "/var/lib/dkms/mok.pub"

# A shell reads these files; what it would have to work out first is not known here.
_SETTING = re.compile(
    r"""^\s*(mok_signing_key|mok_certificate)=(["']?)((?:/|pkcs11:)[^"'$\n]*?)\2\s*(?:#.*)?$""", re.MULTILINE
)


def configured_keys(tree: Tree) -> Optional[Tuple[str, str]]:
    """Return the key and its certificate of DKMS's settings, of which the last counts; None where they name no key."""
    folder = "etc/dkms/framework.conf.d"
    files = ["etc/dkms/framework.conf", *(f"{folder}/{name}" for name in tree.names(folder) if name.endswith(".conf"))]
    settings: Dict[str, str] = {}
    for file in files:
        settings.update((name, value) for name, _quote, value in _SETTING.findall(tree.text(file) or ""))
    if "mok_signing_key" not in settings:
        return None
    return settings["mok_signing_key"], settings.get("mok_certificate", CERTIFICATE)
