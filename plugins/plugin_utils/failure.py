# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a task failed, in words that name the machine, the cause and the way out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.gpulab.workstation.plugins.module_utils._package_trouble import explain

# What Ansible says of a command that failed; why, only the command has said.
_OF_A_COMMAND = "non-zero return code"


def text(result: Mapping[str, Any], host: str) -> str:
    """Return the message of a failed task of ``host``; of a loop, that of its first item that failed."""
    failed = next((item for item in result.get("results") or [] if item.get("failed")), result)
    message = str(failed.get("msg") or "")
    if message.startswith(host):
        return message
    outputs = ("stdout", "stderr", "module_stdout", "module_stderr")
    printed = "\n".join(str(failed[output]) for output in outputs if failed.get(output))
    said = printed if message == _OF_A_COMMAND and printed else "\n".join(filter(None, [printed, message]))
    return f"{host}: {explain(said)}"
