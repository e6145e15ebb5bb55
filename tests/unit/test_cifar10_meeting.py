"""Machines that are to train together: they meet or say who is missing, and hear of one that goes away."""

from __future__ import annotations

import queue
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

FILES = Path(__file__).parents[2] / "roles" / "cifar10" / "files"
sys.path.insert(0, str(FILES))

from cifar10_meeting import Meeting, MeetingError


def members(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _member in range(count)]
    names = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return names


def meet(meetings: list[Meeting], *, seconds: float = 20) -> list[str]:
    """Have them meet; returns what each of those that did not said."""
    said: list[str] = []

    def one(meeting: Meeting) -> None:
        try:
            meeting.meet(seconds=seconds)
        except MeetingError as error:
            said.append(str(error))

    threads = [threading.Thread(target=one, args=(meeting,)) for meeting in meetings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_three_machines_meet_and_their_ports_are_free_for_tensorflow() -> None:
    names = members(3)
    assert meet([Meeting(names, number) for number in range(3)]) == []
    for name in names:
        socket.create_server(("127.0.0.1", int(name.rpartition(":")[2]))).close()


def test_a_machine_that_is_not_there_is_named_by_every_other_one() -> None:
    names = members(3)
    said = meet([Meeting(names, 0), Meeting(names, 2)], seconds=2)
    assert said == [f"after 2 s machine 2 of 3 ({names[1]}) cannot be reached: Connection refused"] * 2


def test_a_machine_that_cannot_reach_this_one_is_named() -> None:
    names = members(2)
    astray = Meeting([members(1)[0], names[1]], 1)  # it looks for the first machine elsewhere
    astray._password = Meeting(names, 1)._password
    (said,) = [line for line in meet([Meeting(names, 0), astray], seconds=2) if names[1] in line]
    assert said == (
        f"after 2 s machine 2 of 2 ({names[1]}) does not reach this machine at port {names[0].rpartition(':')[2]}"
    )


def test_another_program_at_the_port_is_no_machine_of_these() -> None:
    names = members(2)
    host, _colon, port = names[1].rpartition(":")
    with socket.create_server((host, int(port))):
        (said,) = meet([Meeting(names, 0)], seconds=4)
    assert names[1] in said
    with socket.create_server((host, int(port))):
        (said,) = meet([Meeting(names, 1)], seconds=1)
    assert "cannot listen there" in said


def test_a_connection_that_ends_before_leave_is_heard_on_the_other_is_no_loss() -> None:
    names = members(2)
    first, second = Meeting(names, 0), Meeting(names, 1)
    assert meet([first, second]) == []
    second.leave()
    for link in (*second._callers.values(), *second._called.values()):
        link.close()
    gone = queue.Queue[str]()
    first.watch(gone.put)
    first.wait_for_news(20)
    assert gone.empty()


@pytest.mark.parametrize("takes_leave", [True, False])
def test_a_machine_that_goes_away_is_named_unless_it_took_leave(takes_leave: bool) -> None:
    names = members(2)
    other = (
        "import sys, cifar10_meeting; meeting = cifar10_meeting.Meeting(sys.argv[1:], 1); meeting.meet(); "
        "sys.stdin.readline() and meeting.leave()"
    )
    process = subprocess.Popen([sys.executable, "-c", other, *names], cwd=FILES, stdin=subprocess.PIPE)
    meeting, gone = Meeting(names, 0), queue.Queue[str]()
    meeting.meet(seconds=20)
    meeting.watch(gone.put)
    if takes_leave:
        process.communicate(b"\n", timeout=20)
        meeting.wait_for_news(20)
        assert gone.empty()
    else:
        process.kill()
        process.communicate(timeout=20)
        assert gone.get(timeout=20) == f"machine 2 of 2 ({names[1]})"
