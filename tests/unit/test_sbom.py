"""A bill of materials says what CycloneDX asks for, and the same for the same contents."""

from __future__ import annotations

import json
import random
import re

from ansible_collections.gpulab.workstation.plugins.plugin_utils import sbom
from ansible_collections.gpulab.workstation.plugins.plugin_utils.run_record import run_record

COMPONENTS = [
    sbom.distribution("Typing_Extensions", "4.15.0", sha256="a" * 64),
    sbom.package("debian", "libstdc++6", "12.2.0-14+deb12u1", architecture="amd64"),
    sbom.package("rocky", "gcc", "11.5.0-5.el9", architecture="x86_64"),
    sbom.download("Miniforge3-26.3.2-3-Linux-x86_64.sh", version="26.3.2-3", sha256="b" * 64),
]


def test_what_the_schema_requires_is_there() -> None:
    bill = sbom.document("desk-1", COMPONENTS, kind="device")
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bill["serialNumber"])
    assert isinstance(bill["version"], int)
    assert bill["version"] >= 1
    for component in [*bill["components"], bill["metadata"]["component"]]:
        assert component["type"] in ("library", "file", "device")
        assert component["name"]
    for component in bill["components"]:
        assert all(re.fullmatch(r"[0-9a-f]{64}", item["content"]) for item in component.get("hashes", []))
    references = [component["bom-ref"] for component in bill["components"]]
    assert len(references) == len(set(references)) == 4


def test_components_are_found_by_their_package_urls() -> None:
    assert [component["purl"] for component in COMPONENTS] == [
        "pkg:pypi/typing-extensions@4.15.0",
        "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14%2Bdeb12u1?arch=amd64",
        "pkg:rpm/rocky/gcc@11.5.0-5.el9?arch=x86_64",
        f"pkg:generic/Miniforge3-26.3.2-3-Linux-x86_64.sh@26.3.2-3?checksum=sha256:{'b' * 64}",
    ]


def test_the_same_contents_make_the_same_bill() -> None:
    shuffled = random.Random(1).sample([*COMPONENTS, *COMPONENTS], 8)
    assert json.dumps(sbom.document("desk-1", shuffled, kind="device")) == json.dumps(
        sbom.document("desk-1", COMPONENTS, kind="device")
    )
    assert (
        sbom.document("desk-1", COMPONENTS[1:], kind="device")["serialNumber"]
        != sbom.document("desk-1", COMPONENTS, kind="device")["serialNumber"]
    )


RECORD = {
    "host": "desk-1",
    "system": {"id": "debian", "version": "12"},
    "materials": [
        {"kind": "package", "name": "make", "version": "4.3-4.1"},
        {"kind": "distribution", "name": "keras", "version": "3.15.1"},
        {"kind": "conda", "name": "python", "version": "3.12.4"},
        {"kind": "download", "name": "Miniforge3.sh", "version": "26.3.2-3", "sha256": "b" * 64},
    ],
}


# As stack_info returns them of a machine, as far as they matter here.
COMPONENTS_OF_A_MACHINE = {
    "os_prep": {"materials": [{"kind": "package", "name": "git", "version": "1:2.39.5-0+deb12u2"}], "details": {}},
    "cudnn": {
        "materials": [],
        "details": {"downloads": [{"name": "nvidia-cudnn-cu12", "version": "9.10.2.21", "sha256": "c" * 64}]},
    },
    "cifar10": {
        "materials": [],
        "details": {
            "finished": "2026-11-24T00:17:52+00:00",
            "downloads": [{"name": "cifar-10-python.tar.gz", "version": "", "sha256": "d" * 64}],
        },
    },
}


def test_what_roles_record_is_in_the_bill_by_its_package_url() -> None:
    stack = {"system": RECORD["system"], "components": COMPONENTS_OF_A_MACHINE}
    bill = sbom.run([run_record({"inventory_hostname": "desk-1", "gpulab_stack": stack})])
    assert [part["purl"] for part in bill["components"][0]["components"] if "purl" in part] == [
        "pkg:deb/debian/git@1:2.39.5-0%2Bdeb12u2",
        f"pkg:generic/cifar-10-python.tar.gz?checksum=sha256:{'d' * 64}",
        f"pkg:generic/nvidia-cudnn-cu12@9.10.2.21?checksum=sha256:{'c' * 64}",
    ]


def test_a_run_lists_each_machine_with_its_parts() -> None:
    records = [RECORD, {**RECORD, "host": "desk-2"}, {"host": "desk-3", "system": None}]
    bill = sbom.run(records)
    assert [machine["name"] for machine in bill["components"]] == ["desk-1", "desk-2"], "desk-3 did not answer"
    parts = [part for machine in bill["components"] for part in machine["components"]]
    assert {part["name"] for part in parts} == {"make", "keras", "python", "Miniforge3.sh", "debian"}
    assert len({part["bom-ref"] for part in parts}) == len(parts) == 10
    assert all(part["type"] in ("library", "file", "operating-system") and part["name"] for part in parts)
    assert bill == sbom.run(records[::-1]), "the order of the machines says nothing"
