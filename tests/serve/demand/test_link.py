"""Questions to the fetcher: who asks at the same moment shares a question, up to its answer."""

from __future__ import annotations

import time

import gevent
from gevent import socket

from pypimirror.on_demand.messages import Absent, line
from pypimirror.serve.demand.link import Link, Question
from tests.serve.demand.conftest import LONG


def test_who_asks_before_an_answer_is_noted_gets_that_answer() -> None:
    """Else the storm of clients that wait for an absent project would ask a second time."""
    link = Link(lambda _: None)
    link.begin()
    ours, theirs = socket.socketpair()
    talking = gevent.spawn(link.talk, ours)
    question = link.ask("six")
    late: list[Question] = []

    def wait() -> None:
        """Hear the answer; another client asks before anybody has noted it."""
        question.wait(time.monotonic() + LONG)
        late.append(link.ask("six"))

    waiting = gevent.spawn(wait)
    theirs.recv(1 << 16)
    theirs.sendall(line(Absent(1, "Nobody has it.", 300)))
    waiting.join()
    assert late == [question]
    gevent.sleep(0)
    assert link.ask("six") is not question  # and nobody believes it longer than that
    theirs.close()
    talking.join()


def test_a_fetcher_that_is_killed_with_questions_unread_has_just_ended() -> None:
    link = Link(lambda _: None)
    link.begin()
    ours, theirs = socket.socketpair()
    talking = gevent.spawn(link.talk, ours)
    link.ask("six")
    socket.wait_read(theirs.fileno())
    theirs.close()
    assert talking.get() == "The fetcher ended"
