"""A run that failed ends with one message: the machine, the cause, and the way out."""

from __future__ import annotations

import pytest
from ansible_collections.gpulab.workstation.plugins.plugin_utils import failure


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"msg": "desk: /opt has 3 MiB free."}, "desk: /opt has 3 MiB free."),
        ({"msg": "the checksum differs"}, "desk: the checksum differs"),
        ({"msg": "non-zero return code", "stdout": "", "stderr": "tar: short read"}, "desk: tar: short read"),
        ({"msg": "non-zero return code"}, "desk: non-zero return code"),
        ({}, "desk: "),
        (
            {"msg": "One or more items failed", "results": [{"msg": "fine"}, {"failed": True, "msg": "not fine"}]},
            "desk: not fine",
        ),
        (
            {"msg": "cannot make /opt/x: [Errno 28] No space left on device: '/opt/x'"},
            "desk: The disk is full. Free some space and run this again; it goes on where it stopped.\n"
            "cannot make /opt/x: [Errno 28] No space left on device: '/opt/x'",
        ),
    ],
)
def test_a_failure_is_told_with_machine_and_cause(result, message):
    assert failure.text(result, "desk") == message


def test_what_a_package_manager_said_is_searched_for_the_cause():
    locked = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 17 (apt-get)\n" * 30
    told = failure.text({"msg": "'apt-get install x' failed", "stdout": "Reading lists\n", "stderr": locked}, "desk")
    assert told.startswith("desk: Another package manager is at work: process 17 (apt-get) holds")
    assert told.count("It is held") == 1, "once is enough"
