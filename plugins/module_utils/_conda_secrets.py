# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a conda client is told the passwords in the addresses of a request: not on its command line, which all can read.

conda would write a password that stands in an address into its cache, and one from a netrc nowhere. mamba and
micromamba read no netrc but their user's, so their channels with a password are in a configuration file.

Sources: conda/gateways/connection/session.py of conda 26.7, libmamba/src/api/configuration.cpp of mamba 2.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from typing import Dict, List, Sequence, Tuple

from ansible_collections.gpulab.workstation.plugins.module_utils._addresses import credentials, without_secrets
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_plan import Request, RequestError, public


def set_apart(request: Request, *, client: str, folder: str) -> Tuple[Request, Dict[str, str]]:
    """Return the request for the command line of a kind of client, and variables that name a file with its secrets.

    The file is for this user alone, and lies in ``folder``. Raises RequestError for a password that cannot be told so.
    """
    return _by_netrc(request, folder) if client == "conda" else _by_configuration(request, folder)


def write_private(path: str, text: str) -> None:
    """Write a new file for this user alone."""
    with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)


def _by_netrc(request: Request, folder: str) -> Tuple[Request, Dict[str, str]]:
    logins = _logins([*request.channels, *request.packages, *(locked.url for locked in request.lock)])
    if not logins:
        return request, {}
    path = os.path.join(folder, "netrc")
    # Of two entries for a host the last one counts.
    write_private(path, "".join(f"{line}\n" for line in [*_own_netrc(), *logins.values()]))
    apart = replace(
        request,
        channels=tuple(without_secrets(request.channels)),
        packages=tuple(without_secrets(request.packages)),
        lock=tuple(replace(locked, url=without_secrets(locked.url)) for locked in request.lock),
    )
    return apart, {"NETRC": path}


def _logins(addresses: Sequence[str]) -> Dict[str, str]:
    """Return the line of a netrc for each host that is to be told a user and a password."""
    lines: Dict[str, str] = {}
    for address in addresses:
        user, password = credentials(address)
        if not user + password:
            continue
        host = re.sub(r"^.*?://([^/:]*).*$", r"\1", without_secrets(address))
        if not re.fullmatch(r"[!#-\[\]-~]+", user + password):
            raise RequestError(
                f"conda cannot be told the password for {host}, which has white space, a quote, a backslash or a letter"
                " beyond ASCII in it: have the mirror give another one"
            )
        line = f"machine {host} login {user}" + (f" password {password}" if password else "")
        if lines.setdefault(host, line) != line:
            raise RequestError(
                f"conda takes one password for a host, and two are given for {host}: let one user have both"
            )
    return lines


def _own_netrc() -> List[str]:
    """Return the lines of the netrc that the client would read otherwise."""
    try:
        with open(
            os.environ.get("NETRC") or os.path.expanduser("~/.netrc"), encoding="utf-8", errors="replace"
        ) as file:
            return file.read().splitlines()
    except OSError:
        return []


def _by_configuration(request: Request, folder: str) -> Tuple[Request, Dict[str, str]]:
    names = {url: f"gpulab-{n}" for n, url in enumerate(request.channels, start=1) if public(url) != url}
    if not names:
        return request, {}
    path = os.path.join(folder, "channels.yml")
    write_private(path, json.dumps({"custom_multichannels": {name: [url] for url, name in names.items()}}))
    return replace(request, channels=tuple(names.get(url, url) for url in request.channels)), {"MAMBARC": path}
