# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Receipts: what a component's role left on the machine, and whether it is still there.

A receipt holds the inputs that the role was given and the evidence of what it did: a checksum for each file, a version
for each package and whether it is held, a target for each link, and the set of distributions of each Python
environment. Reading it back compares the evidence with the machine, so a receipt never claims what is no longer true.
"""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ansible_collections.gpulab.workstation.plugins.module_utils import _conda_prefix
from ansible_collections.gpulab.workstation.plugins.module_utils._addresses import without_secrets
from ansible_collections.gpulab.workstation.plugins.module_utils._installed import held_packages, package_versions

RECEIPTS_DIR = "/var/lib/gpulab/receipts"
SCHEMA = 1
EVIDENCE = ("file", "link", "environment", "package", "hold")


class ReceiptError(Exception):
    """A receipt cannot be written or is not one."""


def under(root: str, path: str) -> str:
    """Return where ``path`` of the machine lies when the machine's tree is mounted at ``root``."""
    return os.path.join(root, path.lstrip("/"))


def observe(
    *,
    root: str = "/",
    files: Sequence[str] = (),
    links: Sequence[str] = (),
    environments: Sequence[str] = (),
    packages: Sequence[str] = (),
    holds: Sequence[str] = (),
) -> List[Dict[str, Optional[str]]]:
    """Return one ``{kind, name, state}`` for each thing named; ``state`` is None where it does not exist.

    The state of a file is its SHA-256, of a link its target, of a package its version, of a hold "held", and of a
    Python environment the SHA-256 over the names and versions of its distributions.
    """
    versions = package_versions(root=root, names=packages)
    held = held_packages(root=root, names=holds) if holds else set()
    found = [("file", path, _file_state(under(root, path))) for path in files]
    found += [("link", path, _link_state(under(root, path))) for path in links]
    found += [("environment", path, _environment_state(under(root, path))) for path in environments]
    found += [("package", name, versions.get(name)) for name in packages]
    found += [("hold", name, "held" if name in held else None) for name in holds]
    return [{"kind": kind, "name": name, "state": state} for kind, name, state in found]


def compose(
    *,
    component: str,
    version: str,
    inputs: Mapping[str, Any],
    evidence: List[Dict[str, Optional[str]]],
    details: Mapping[str, Any],
) -> Dict[str, Any]:
    """Return the receipt of a component.

    Raises ReceiptError when something that the role says it left behind is not there.
    """
    missing = [f"{item['kind']} {item['name']}" for item in evidence if item["state"] is None]
    if missing:
        raise ReceiptError(f"the role {component} reports what this machine does not have: {', '.join(missing)}")
    return {
        "schema": SCHEMA,
        "component": component,
        "version": version,
        "inputs": without_secrets(inputs),
        "evidence": evidence,
        "details": without_secrets(details),
    }


def receipt_path(component: str, *, root: str = "/") -> str:
    """Return the path of a component's receipt."""
    return under(root, f"{RECEIPTS_DIR}/{component}.json")


def previous_path(component: str, *, root: str = "/") -> str:
    """Return the path of the receipt before this one: what the machine went by until something else was installed."""
    return under(root, f"{RECEIPTS_DIR}/previous/{component}.json")


def read(component: str, *, root: str = "/", previous: bool = False) -> Optional[Dict[str, Any]]:
    """Return a component's receipt, or the one before it, or None when there is none.

    A file that is not a receipt counts as none: the role runs again and writes a sound one.
    """
    path = previous_path(component, root=root) if previous else receipt_path(component, root=root)
    try:
        with open(path, encoding="utf-8") as file:
            receipt = json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    if not isinstance(receipt, dict) or receipt.get("schema") != SCHEMA or receipt.get("component") != component:
        return None
    return receipt


def broken(receipt: Mapping[str, Any], *, root: str = "/") -> List[Dict[str, Optional[str]]]:
    """Return the evidence of ``receipt`` that the machine no longer bears out, as ``{kind, name, expected, found}``."""
    recorded = receipt["evidence"]
    names: Dict[str, List[str]] = {kind: [] for kind in EVIDENCE}
    for item in recorded:
        names[item["kind"]].append(item["name"])
    today = observe(
        root=root,
        files=names["file"],
        links=names["link"],
        environments=names["environment"],
        packages=names["package"],
        holds=names["hold"],
    )
    found = {(item["kind"], item["name"]): item["state"] for item in today}
    return [
        {
            "kind": item["kind"],
            "name": item["name"],
            "expected": item["state"],
            "found": found[item["kind"], item["name"]],
        }
        for item in recorded
        if item["state"] != found[item["kind"], item["name"]]
    ]


def digest(receipt: Mapping[str, Any]) -> str:
    """Return eight digits that tell what the role left from what it left at another time, at the same version too."""
    return hashlib.sha256(json.dumps(receipt["evidence"], sort_keys=True).encode()).hexdigest()[:8]


def materials(receipt: Mapping[str, Any], *, root: str = "/") -> List[Dict[str, str]]:
    """Return what a component is made of today as ``{kind, name, version}``, in their order.

    The kinds are package (of the system), distribution (of Python) and conda.
    """
    named = {kind: [item["name"] for item in receipt["evidence"] if item["kind"] == kind] for kind in EVIDENCE}
    found = {("package", *item) for item in package_versions(root=root, names=named["package"]).items()}
    for prefix in named["environment"]:
        contents = _conda_prefix.read(under(root, prefix))
        found |= {("distribution", *item) for item in contents.distributions.items()}
        found |= {("conda", package.name, package.version) for package in contents.packages}
    return [{"kind": kind, "name": name, "version": version} for kind, name, version in sorted(found)]


def components(*, root: str = "/") -> List[str]:
    """Return the components that have a receipt, in alphabetical order."""
    try:
        entries = os.listdir(under(root, RECEIPTS_DIR))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name[: -len(".json")] for name in entries if name.endswith(".json") and not name.startswith("."))


def _file_state(path: str) -> Optional[str]:
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    return digest.hexdigest()


def _link_state(path: str) -> Optional[str]:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _environment_state(prefix: str) -> Optional[str]:
    """Digest the names and versions of an environment's distributions, which pip and conda keep in directory names."""
    names: List[str] = []
    try:
        for python in os.listdir(os.path.join(prefix, "lib")):
            packages = os.path.join(prefix, "lib", python, "site-packages")
            if python.startswith("python3") and os.path.isdir(packages):
                names += [name for name in os.listdir(packages) if name.endswith((".dist-info", ".egg-info"))]
        conda_meta = os.path.join(prefix, "conda-meta")
        if os.path.isdir(conda_meta):
            names += [name for name in os.listdir(conda_meta) if name.endswith(".json")]
    except (FileNotFoundError, NotADirectoryError):
        return None
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest() if names else None
