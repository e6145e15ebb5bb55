"""Have the machines of a training meet before it begins, and watch over each other until it ends.

TensorFlow waits an hour for a machine that cannot be reached, and says little of one that goes away. Here each machine
reaches every other one at the very port that TensorFlow will use, both ways, and keeps the connection: the end of a
machine, or of the network to it, is heard at once or within half a minute, and it is named.
"""
# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import selectors
import socket
import threading
import time
from collections.abc import Callable

MEET_SECONDS = 120.0  # one machine may read or draw its images for that much longer than another
RETRY_SECONDS = 0.5
ANSWER_SECONDS = 3.0  # to a connection, and to a greeting
FAREWELL = b"end\n"


class MeetingError(Exception):
    """The machines did not meet; the message names those that are missing."""


class Meeting:
    """This machine, ``members[number]``, among the others; a member is ``host:port``."""

    def __init__(self, members: list[str], number: int) -> None:
        self._members = members
        self._number = number
        self._others = [other for other in range(len(members)) if other != number]
        self._called: dict[int, socket.socket] = {}  # by this machine
        self._callers: dict[int, socket.socket] = {}
        self._watch: threading.Thread | None = None
        self._leaving = False
        # What else may listen or call there is none of this training's.
        self._password = hashlib.sha256(" ".join(members).encode()).hexdigest()

    def name(self, other: int) -> str:
        return f"machine {other + 1} of {len(self._members)} ({self._members[other]})"

    def meet(self, *, seconds: float = MEET_SECONDS) -> None:
        """Return once every machine has reached every other one, which leaves the port free; or raise MeetingError."""
        port = int(self._members[self._number].rpartition(":")[2])
        end = time.monotonic() + seconds
        try:
            both = socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if both else socket.AF_INET
            listener = socket.create_server(("", port), family=family, dualstack_ipv6=both)
        except OSError as error:
            raise MeetingError(f"{self.name(self._number)} cannot listen there: {error}") from error
        with listener:
            answering = threading.Thread(target=self._answer, args=(listener, end), daemon=True)
            answering.start()
            refused = self._call(end)
            answering.join()
        missing = [f"{self.name(other)} cannot be reached: {error}" for other, error in refused.items()]
        missing += [
            f"{self.name(other)} does not reach this machine at port {port}"
            for other in self._others
            if other not in self._callers and other not in refused
        ]
        if missing:
            raise MeetingError(f"after {seconds:.0f} s {'; '.join(missing)}")

    def watch(self, gone: Callable[[str], None]) -> None:
        """From now on call ``gone`` with the name of a machine that goes away without having taken leave."""
        self._watch = threading.Thread(target=self._listen, args=(gone,), daemon=True)
        self._watch.start()

    def wait_for_news(self, seconds: float) -> None:
        """Give the watch so long to hear of a machine that went away."""
        if self._watch:
            self._watch.join(seconds)

    def leave(self) -> None:
        """Take leave: this machine has come to its end."""
        self._leaving = True
        # On every connection: of two, the end of one may be heard before what was said on the other.
        for link in (*self._called.values(), *self._callers.values()):
            try:
                link.sendall(FAREWELL)
            except OSError:  # the other one has left, too
                continue

    def _call(self, end: float) -> dict[int, str]:
        """Call the others until all have answered; returns why some did not."""
        refused = dict.fromkeys(self._others, "no time was left")
        while refused and time.monotonic() < end:
            for other in list(refused):
                host, _colon, port = self._members[other].rpartition(":")
                try:
                    link = socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS)
                    link.sendall(f"{self._password} {self._number}\n".encode())
                    if link.recv(1) != b"!":
                        raise OSError("something else listens there")
                except OSError as error:
                    refused[other] = error.strerror or str(error)
                    continue
                self._called[other] = _patient(link)
                del refused[other]
            if refused:
                time.sleep(RETRY_SECONDS)
        return refused

    def _answer(self, listener: socket.socket, end: float) -> None:
        while len(self._callers) < len(self._others) and (left := end - time.monotonic()) > 0:
            listener.settimeout(left)
            try:
                link, _address = listener.accept()
                link.settimeout(ANSWER_SECONDS)
                password, _space, number = link.makefile("rb").readline(100).decode().partition(" ")
                if password != self._password or int(number) not in self._others:
                    link.close()
                    continue
                link.sendall(b"!")
                self._callers[int(number)] = _patient(link)
            except (OSError, ValueError):  # the time is up, or it was no machine of these
                continue

    def _listen(self, gone: Callable[[str], None]) -> None:
        with selectors.DefaultSelector() as selector:
            for links in (self._called, self._callers):
                for other, link in links.items():
                    selector.register(link, selectors.EVENT_READ, other)
            while selector.get_map():
                for key, _events in selector.select():
                    try:
                        said = key.fileobj.recv(len(FAREWELL))  # type: ignore[union-attr]
                    except OSError:
                        said = b""
                    selector.unregister(key.fileobj)
                    if said != FAREWELL and not self._leaving:
                        gone(self.name(key.data))


def _patient(link: socket.socket) -> socket.socket:
    """A connection that is silent for hours, and notices within half a minute that the other end cannot be reached."""
    link.settimeout(None)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 4)):
        link.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return link
