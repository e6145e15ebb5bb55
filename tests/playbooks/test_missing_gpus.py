"""A GPU that is gone before the first look must not make the proof one of fewer GPUs."""

from __future__ import annotations

from pathlib import Path

from support.stand_in_lab import Lab

UNDRIVEN = {
    "code": "gpu_undriven",
    "severity": "error",
    "message": "The driver that runs does not drive NVIDIA RTX 4090 at 0000:02:00.0.",
    "remedy": "Look for NVRM in the kernel log: the driver says there why it left the GPU alone.",
}


def test_a_machine_that_lost_one_of_its_gpus_passes_no_audit_and_is_not_proved_without_it(tmp_path: Path) -> None:
    lab = Lab(tmp_path, "left-the-bus", "taken-out", "undriven", "untouched")
    for host in lab.inventory:
        lab.give(host, "RTX 4090", "RTX 4090")
    assert lab.play("site").code == 0
    for host in ("left-the-bus", "taken-out"):
        lab.give(host, "RTX 4090")
    lab.inventory["taken-out"]["cifar10_gpus"] = 1
    lab.find("undriven", UNDRIVEN)
    for host in lab.inventory:
        lab.change(host, journal=[])

    audit = lab.play("audit")
    assert "0000:02:00.0 left the PCI bus" in audit.records["left-the-bus"]["failed"]["message"]
    assert UNDRIVEN["message"] in " ".join(audit.said.split())
    assert [audit.recap(host)["failed"] for host in ("left-the-bus", "undriven", "untouched")] == [1, 1, 0]

    site = lab.play("site", "--limit", "left-the-bus,taken-out")
    assert "set cifar10_gpus: 1" in site.records["left-the-bus"]["failed"]["message"]
    assert lab.read("left-the-bus")["journal"] == []
    assert site.recap("taken-out")["failed"] == 0
    assert lab.read("taken-out")["journal"] == ["cifar10"]
