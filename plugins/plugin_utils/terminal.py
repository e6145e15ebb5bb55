# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What machines said, made fit to stand on a terminal."""

from __future__ import annotations

import re

# C0 but for tab and line feed, DEL, C1, and the marks that reorder text (bidirectional overrides).
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """The text without what could move the cursor, recolour or reorder what people read."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
