# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bills of materials in CycloneDX's JSON (1.6): the same contents give the same document, byte by byte.

What it is made of: https://cyclonedx.org/docs/1.6/json/ and https://github.com/package-url/purl-spec.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

Component = dict[str, Any]

# What the serial numbers are derived from: this collection's name.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_DNS, "gpulab.workstation")


def document(subject: str, components: Iterable[Component], *, kind: str) -> dict[str, Any]:
    """Return the bill of ``subject``, of a ``kind`` that CycloneDX knows, with each of ``components`` once, in order.

    It bears no time, and its serial number comes from what it says: who compares two bills compares contents.
    """
    by_reference = {component["bom-ref"]: component for component in components}
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": kind, "bom-ref": "subject", "name": subject}},
        "components": [by_reference[reference] for reference in sorted(by_reference)],
    }
    serial = uuid.uuid5(_NAMESPACE, json.dumps(bill, sort_keys=True))
    return {**bill, "serialNumber": f"urn:uuid:{serial}"}


def run(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the bill of a run's machines, each with what it has of this collection's components."""
    return document(
        "gpulab.workstation", [_machine(record) for record in records if record.get("system")], kind="application"
    )


def _machine(record: Mapping[str, Any]) -> Component:
    host, system = record["host"], record["system"]
    makers = {
        "package": lambda item: package(system["id"], item["name"], item["version"]),
        "distribution": lambda item: distribution(item["name"], item["version"]),
        "conda": lambda item: conda(item["name"], item["version"]),
        "download": lambda item: download(item["name"], version=item["version"], sha256=item["sha256"]),
    }
    parts = [makers[item["kind"]](item) for item in record.get("materials") or []]
    parts.append({"type": "operating-system", "bom-ref": "os", "name": system["id"], "version": system["version"]})
    # A reference is one of a kind in its document, and machines have the same parts.
    mine = {part["bom-ref"]: {**part, "bom-ref": f"{host}/{part['bom-ref']}"} for part in parts}
    return {
        "type": "device",
        "bom-ref": host,
        "name": host,
        "components": [mine[reference] for reference in sorted(mine)],
    }


def distribution(name: str, version: str, *, sha256: str = "") -> Component:
    """A Python distribution."""
    normal = re.sub(r"[-_.]+", "-", name).lower()
    return _component("library", normal, version, f"pkg:pypi/{normal}@{_quoted(version)}", sha256)


def package(system: str, name: str, version: str, *, architecture: str = "", sha256: str = "") -> Component:
    """A package of a distribution, named as in its os-release (``debian``, ``rocky``)."""
    kind = "deb" if system in ("debian", "ubuntu") else "rpm"
    where = f"?arch={architecture}" if architecture else ""
    purl = f"pkg:{kind}/{system}/{_quoted(name)}@{_quoted(version)}{where}"
    return _component("library", name, version, purl, sha256)


def conda(name: str, version: str, *, sha256: str = "") -> Component:
    """A package of conda."""
    return _component("library", name, version, f"pkg:conda/{_quoted(name)}@{_quoted(version)}", sha256)


def download(name: str, *, version: str = "", sha256: str = "") -> Component:
    """A file that was fetched by its checksum: an installer, a set of images."""
    purl = f"pkg:generic/{_quoted(name)}{'@' if version else ''}{_quoted(version)}?checksum=sha256:{sha256}"
    return _component("file", name, version, purl, sha256)


def _component(kind: str, name: str, version: str, purl: str, sha256: str) -> Component:
    component: Component = {"type": kind, "bom-ref": purl, "name": name, "purl": purl}
    if version:
        component["version"] = version
    if sha256:
        component["hashes"] = [{"alg": "SHA-256", "content": sha256}]
    return component


def _quoted(text: str) -> str:
    return quote(text, safe=".-_~:")
