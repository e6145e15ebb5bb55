"""A terminal for a process under test, which is strict: it knows what the footer may send, and no more."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path

TOKEN = re.compile(
    r"\x1b\[(?P<count>\d*)(?P<order>[A-Za-z])|\x1b\[[\d;]*m|(?P<text>[^\x00-\x1f\x7f]+)|(?P<control>[\r\n])"
)
# Where a picture goes up to what it redraws.
REDRAWN = re.compile(r"(?=\x1b\[\d*A)")
UNFINISHED = re.compile(r"(\x1b(\[[\d;]*)?)?\Z")


class Screen:
    """What is to be seen on a terminal, and above it, where one can scroll to."""

    def __init__(self, columns: int, lines: int) -> None:
        self.columns, self.lines = columns, lines
        self.rows: list[str] = [""]
        self.row = self.column = 0

    def feed(self, text: str) -> None:
        at = 0
        while at < len(text):
            token = TOKEN.match(text, at)
            assert token, f"no terminal is to be sent {text[at : at + 20]!r}"
            at = token.end()
            if token["text"]:
                self._write(token["text"])
            elif token["control"] == "\r":
                self.column = 0
            elif token["control"] == "\n":
                self._down()
            elif token["order"] == "A":
                self.row = max(self.row - int(token["count"] or 1), len(self.rows) - self.lines, 0)
            elif token["order"] == "J":
                self.rows[self.row :] = [self.rows[self.row][: self.column]]
            else:
                assert token["order"] in (None, "m"), token[0]

    def _write(self, text: str) -> None:
        for letter in text:
            if self.column == self.columns:
                self.column = 0
                self._down()
            line = self.rows[self.row].ljust(self.column)
            self.rows[self.row] = line[: self.column] + letter + line[self.column + 1 :]
            self.column += 1

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.rows):
            self.rows.append("")

    @property
    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self.rows)


class Terminal:
    """A process on a pseudo terminal; ``seen`` is called after whatever it wrote."""

    def __init__(
        self, command: list[str], *, cwd: Path, env: dict[str, str], columns: int = 100, lines: int = 30
    ) -> None:
        self.screen = Screen(columns, lines)
        self.sent = ""
        self._leader, follower = pty.openpty()
        fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.before = termios.tcgetattr(follower)
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**env, "TERM": "xterm"},
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
            # A shell's background jobs, which a test may be one of, ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self._follower = follower

    def watch(self, seen: Callable[[str], bool | None] = lambda screen: None) -> int:
        """Follow the process to its end, or until ``seen`` says of a screen that it is enough; its exit code."""
        decoder, cut = codecs.getincrementaldecoder("utf-8")(), ""
        os.set_blocking(self._leader, False)
        while True:
            ended = self.process.poll() is not None
            try:
                text = cut + decoder.decode(os.read(self._leader, 65536))
            except BlockingIOError:
                if ended:
                    return self.process.returncode
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(0.05)
                continue
            # A read may end within a sequence.
            whole = UNFINISHED.search(text).start()
            text, cut = text[:whole], text[whole:]
            self.sent += text
            # One read may bring several pictures, of which each is to be seen.
            for picture in REDRAWN.split(text):
                self.screen.feed(picture)
                if seen(self.screen.text):
                    return -1

    def modes_are_as_before(self) -> bool:
        return termios.tcgetattr(self._follower) == self.before
