"""A run that failed ends with one message: the machine, the cause, and the way out."""

from __future__ import annotations

import re

import pytest
from ansible_collections.gpulab.workstation.plugins.plugin_utils import failure


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"msg": "desk: /opt has 3 MiB free."}, "desk: /opt has 3 MiB free."),
        ({"msg": "the checksum differs"}, "desk: the checksum differs"),
        ({"msg": "desk: https://me:hunter2@mirror/x is gone."}, "desk: https://mirror/x is gone."),
        ({"msg": "cannot fetch https://me:hunter2@mirror/x"}, "desk: cannot fetch https://mirror/x"),
        ({"msg": "non-zero return code", "stdout": "", "stderr": "tar: short read"}, "desk: tar: short read"),
        ({"msg": "non-zero return code"}, "desk: non-zero return code"),
        ({}, "desk: "),
        (
            {"msg": "Module result deserialization failed", "module_stdout": "", "module_stderr": "Killed", "rc": 137},
            "desk: The task was ended by force before it could answer. The machine has gone down, or had no memory"
            " left: `journalctl --boot -1` and `dmesg` there say which. Run this again; it goes on where it stopped.",
        ),
        ({"msg": "non-zero return code", "stderr": "It was killed.", "rc": 137}, "desk: It was killed."),
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


@pytest.mark.parametrize(
    ("words", "status", "cause"),
    [
        ("sudo: 需要密码", 1, r"sudo does not let become root \(sudo: 需要密码\)\..* with -K"),
        (
            "我们信任您已经从系统管理员那里了解了。\n\neve 不是 sudoers 文件。",
            1,
            r"become root \(eve 不是 sudoers 文件。\)",
        ),
        ("/bin/sh: 1: sudo: not found", 127, r"become root \(/bin/sh: 1: sudo: not found\)"),
        ("sudo: sorry, you must have a tty to run sudo", 1, r"\(requiretty\), set ANSIBLE_PIPELINING=false"),
        ("sudo: unable to resolve host desk\nTraceback\nKeyError: 'x'", 1, r"KeyError"),
        (
            "Traceback\nFileNotFoundError: [Errno 2] No usable temporary directory found in ['/tmp', '/']",
            1,
            r"desk: Ansible can write its own files nowhere there\. The disk is full, or mounted read-only",
        ),
    ],
)
def test_why_a_module_never_answered_is_told_whatever_language_the_machine_speaks(words, status, cause):
    result = {"msg": "Module result deserialization failed", "module_stderr": words, "module_stdout": "", "rc": status}
    assert re.search(cause, failure.text(result, "desk"))


@pytest.mark.parametrize(
    ("result", "cause"),
    [
        ({"msg": "Task failed: Incorrect sudo password"}, r"become root \(Incorrect sudo password\)"),
        (
            {"msg": "Failed to connect: No route to host", "unreachable": True},
            r"^desk does not answer\. Failed to connect",
        ),
        (
            {"msg": "Failed to create temporary directory. In some", "unreachable": True},
            r"^desk: Ansible can write its own",
        ),
        (
            {"msg": "The module interpreter '/usr/bin/python3' was not found.", "module_stdout": "", "rc": 127},
            r"^desk: There is no /usr/bin/python3, .* Install python3",
        ),
    ],
)
def test_what_ansible_itself_could_not_do_is_told_with_the_way_out(result, cause):
    assert re.search(cause, failure.text(result, "desk"))


def test_what_a_package_manager_said_is_searched_for_the_cause():
    locked = "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 17 (apt-get)\n" * 30
    told = failure.text({"msg": "'apt-get install x' failed", "stdout": "Reading lists\n", "stderr": locked}, "desk")
    assert told.startswith("desk: Another package manager is at work: process 17 (apt-get) holds")
    assert told.count("It is held") == 1, "once is enough"
