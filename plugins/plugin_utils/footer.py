# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines that stay at the bottom of a terminal, under whatever else is written there.

All that is ever sent is "so many lines up" and "erase from here to the end". The cursor is never hidden and no mode is
switched on, so a process that is killed leaves a terminal as it should be.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from typing import Any, TextIO, cast


class Footer:
    """Stands between the process and its terminal from :meth:`install` to :meth:`remove`.

    It has no lock of its own: Ansible's display holds its lock whenever it writes, and all that is written by others
    goes through the display.
    """

    def __init__(self) -> None:
        self._out, self._error = sys.stdout, sys.stderr
        self._lines: list[tuple[str, int]] = []  # a line as it is sent, and how wide it is
        self._drawn: list[int] = []
        self._amid = False  # in a line that has not ended

    def install(self) -> None:
        sys.stdout = cast(TextIO, _Above(self, self._out))
        if self._error.isatty():
            sys.stderr = cast(TextIO, _Above(self, self._error))

    def remove(self) -> None:
        """Erase the lines and step aside."""
        self._lines = []
        self.write(self._out, "")
        sys.stdout, sys.stderr = self._out, self._error

    def size(self) -> os.terminal_size:
        """The terminal's columns and lines; 80 by 24 where it does not know itself."""
        found = os.get_terminal_size(self._out.fileno())
        return os.terminal_size((found.columns or 80, found.lines or 24))

    def show(self, lines: Sequence[tuple[str, int]]) -> None:
        """Have these lines at the bottom from the next writing on: each as it is sent, and its width in columns."""
        self._lines = list(lines)

    def write(self, stream: TextIO, text: str) -> None:
        """Write ``text`` to ``stream`` above the lines. After the beginning of a line, such as a prompt, they wait."""
        columns = self.size().columns
        rows = sum(max(1, math.ceil(width / columns)) for width in self._drawn)
        erase = f"\x1b[{rows}A\x1b[J" if rows else ""
        if text:
            self._amid = not text.endswith("\n")
        lines = [] if self._amid else self._lines
        self._drawn = [width for _line, width in lines]
        below = "".join(f"{line}\n" for line, _width in lines)
        if stream is self._out:
            self._out.write(erase + text + below)
        else:
            self._out.write(erase)
            self._out.flush()
            stream.write(text)
            stream.flush()
            self._out.write(below)
        self._out.flush()


class _Above:
    """A stream whose text goes above the footer."""

    def __init__(self, footer: Footer, stream: TextIO) -> None:
        self._footer, self._stream = footer, stream

    def write(self, text: str) -> int:
        self._footer.write(self._stream, text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
