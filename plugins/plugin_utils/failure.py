# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a task failed, in words that name the machine, the cause and the way out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.gpulab.workstation.plugins.module_utils._addresses import without_secrets
from ansible_collections.gpulab.workstation.plugins.module_utils._package_trouble import explain

# What Ansible says of a command that failed; why, only the command has said.
_OF_A_COMMAND = "non-zero return code"
# What a shell says of a program that was ended by SIGKILL or SIGTERM.
_ENDED_BY_FORCE = (128 + 9, 128 + 15)
# What sudo ends with where it starts nothing, and a shell that finds no sudo.
_NOT_STARTED = (1, 127)
# What ansible.builtin.get_url says of a file that is another than it was to be.
_OTHER_FILE = re.compile(r"did not match (?P<wanted>[0-9a-f]+); it was (?P<found>[0-9a-f]+)")
# What Ansible, and Python on the machine, say where they can put no file.
_NO_ROOM = re.compile("No usable temporary directory|Failed to create temporary directory|failed to transfer file")


def text(result: Mapping[str, Any], host: str) -> str:
    """Return the message of a failed task of ``host``; of a loop, that of its first item that failed.

    It goes into a report for many to read, so that users and passwords in addresses are left out.
    """
    return str(without_secrets(_told(result, host)))


def _told(result: Mapping[str, Any], host: str) -> str:
    failed = next((item for item in result.get("results") or [] if item.get("failed")), result)
    message = str(failed.get("msg") or "")
    if message.startswith(host):
        return message
    hindrance = _hindrance(failed, message)
    if hindrance:
        return f"{host}: {hindrance}"
    if failed.get("unreachable"):
        return f"{host} does not answer. {message}"
    outputs = ("stdout", "stderr", "module_stdout", "module_stderr")
    printed = "\n".join(str(failed[output]) for output in outputs if failed.get(output))
    said = printed if message == _OF_A_COMMAND and printed else "\n".join(filter(None, [printed, message]))
    return f"{host}: {explain(said)}"


def _hindrance(failed: Mapping[str, Any], message: str) -> str:
    """Return what kept a module from its work, of which it could say nothing itself; empty where that is not known."""
    silent = "module_stdout" in failed and not failed["module_stdout"]
    status = failed.get("rc") if silent else None
    last_words = (str(failed.get("module_stderr") or "").strip().splitlines() or [""])[-1] if silent else message
    if status in _ENDED_BY_FORCE:
        return (
            "The task was ended by force before it could answer. The machine has gone down, or had no memory left:"
            " `journalctl --boot -1` and `dmesg` there say which. Run this again; it goes on where it stopped."
        )
    if _NO_ROOM.search(last_words):
        return (
            "Ansible can write its own files nowhere there. The disk is full, or mounted read-only, as the kernel also"
            " does with one that has errors: `df -h`, `findmnt` and `dmesg` say which. Put it right and run again."
        )
    asked = (failed.get("invocation") or {}).get("module_args") or {}
    if "url" in asked and "dest" in asked:
        return _unfetched(asked["url"], str(failed.get("response") or message))
    interpreter = re.search(r"The module interpreter '([^']+)' was not found", message)
    if interpreter:
        return (
            f"There is no {interpreter[1]}, with which Ansible does its work there. Install python3 with the machine's"
            " package manager, or name another Python with ansible_python_interpreter."
        )
    # sudo speaks the language of the user who logs in; its name and that of its settings are the same in all of them.
    refusal = re.search(r"(Incorrect|Missing) sudo password", message)
    if status in _NOT_STARTED and not refusal:
        refusal = re.search(r".*\bsudo(ers)?\b.*", last_words)
    if refusal:
        return (
            f"Ansible logs in as a user whom sudo does not let become root ({refusal[0].strip()}). Give that user's"
            " password with -K; have the user added to the machine's group sudo, or wheel; or log in as root. Where"
            " sudo wants a terminal (requiretty), set ANSIBLE_PIPELINING=false."
        )
    return ""


def _unfetched(url: str, answer: str) -> str:
    """Return why a file of the net is not there, as of ansible.builtin.get_url."""
    other = _OTHER_FILE.search(answer)
    if other:
        return (
            f"{url} has the checksum {other['found']} and not {other['wanted']}. It was not used. It was changed, or"
            " cut off on the way: fetch it from another place, or run this again."
        )
    why = explain(answer).rstrip(".")
    return f"{url} could not be fetched: {why}. Run this again when it answers, or name another place."
