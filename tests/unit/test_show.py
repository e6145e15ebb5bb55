# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""show prints what it is given, once, and nothing that a terminal would obey."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest
from ansible_collections.gpulab.workstation.plugins.plugin_utils.terminal import harmless

ROOT = pathlib.Path(__file__).resolve().parents[2]
PLAYBOOK = r"""
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Show
      gpulab.workstation.show:
        text: "the \"plan\"\n  of {{ '{{ this }}' }} machine \e[2J\n"
"""


@pytest.mark.parametrize("callback", ["default", "minimal", "oneline"])
def test_text_is_printed_once_and_as_it_is_in_any_callback(tmp_path: pathlib.Path, callback: str) -> None:
    playbook = tmp_path / "show.yml"
    playbook.write_text(PLAYBOOK)
    run = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", "--check", str(playbook)],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_STDOUT_CALLBACK": callback, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count('the "plan"\n  of {{ this }} machine \ufffd[2J\n') == 1
    assert run.stdout.count("plan") == 1


def test_only_control_characters_are_replaced() -> None:
    assert harmless("a\tb\nÄ → 61 °C\r\x1b[0m\u202e") == "a\tb\nÄ → 61 °C\ufffd\ufffd[0m\ufffd"
