# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: show
short_description: Print text to the terminal as it is
version_added: "1.0.0"
description:
  - Prints text of several lines on the controller's terminal and in its log, once, without quotes, escapes or a result
    around it, whatever callback is in use.
  - Control characters, which could move the cursor or change the terminal, are replaced.
  - Nothing runs on the managed machine.
options:
  text:
    description: The text. A line break at its end is not needed.
    type: str
    required: true
attributes:
  check_mode:
    support: full
    description: Prints in check mode as well.
  diff_mode:
    support: none
    description: There is nothing to compare.
author:
  - The gpulab.workstation authors (@gpulab)
"""
EXAMPLES = r"""
- name: Show how the run ended
  gpulab.workstation.show:
    text: "{{ gpulab_records | gpulab.workstation.report_table }}"
  run_once: true
"""
RETURN = r"""#"""
