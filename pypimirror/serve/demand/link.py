"""Questions to the fetcher, and its answers. All clients that want the same thing share a question.

If a client leaves, its question stays. Everything here runs in greenlets of one thread: `Link.talk`
reads, another greenlet writes, and all others wait.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import gevent
import msgspec
from gevent.event import Event
from gevent.queue import SimpleQueue
from gevent.socket import SHUT_WR, socket

from pypimirror import __version__
from pypimirror.on_demand.messages import (
    Coming,
    Counted,
    FileQuestion,
    Final,
    IndexQuestion,
    PageQuestion,
    Ready,
    Used,
    from_fetcher,
    line,
)

#: Most questions that are open at a time. Further ones are refused, so that a stuck fetcher costs
#: little memory.
MOST_OPEN = 10_000

_CHUNK = 1 << 16
#: Most bytes of a line.
_LONGEST = 1 << 20


@dataclass(frozen=True)
class Gone:
    """The answer of a fetcher that ended, or that could not be asked."""

    reason: str


#: The subject of a question: a project and a file name. No file name: a page; no project: the list.
Thing = tuple[str | None, str | None]


class Question:
    """A question for which some clients wait."""

    def __init__(self, thing: Thing) -> None:
        self.thing = thing
        self.since = time.monotonic()
        self.coming: Coming | None = None  #: how far the file has come
        self.answer: Final | Gone | None = None
        self._news = Event()

    def wait(self, until: float) -> bool:
        """Wait for news until a time (monotonic seconds); return whether there are any."""
        if self.answer is not None:
            return True
        return self._news.wait(max(0.0, until - time.monotonic()))

    def wait_for_answer(self, until: float) -> Final | Gone | None:
        """Return the answer; None if there is none in time (monotonic seconds)."""
        while self.answer is None and self.wait(until):
            pass
        return self.answer

    def tell(self, news: Coming | Final | Gone) -> None:
        """Give news to all waiting greenlets."""
        if isinstance(news, Coming):
            self.coming = news
        else:
            self.answer = news
        waited, self._news = self._news, Event()
        waited.set()


class Link:
    """The way to the fetcher. It outlives fetchers."""

    def __init__(self, count: Callable[[dict[str, float]], None]) -> None:
        self._count = count
        self._ids = itertools.count(1)
        self._by_thing: dict[Thing, Question] = {}
        self._by_id: dict[int, Question] = {}
        self._lines: SimpleQueue[bytes] | None = None  # None: there is no fetcher

    def ask(self, project: str | None, filename: str | None = None) -> Question:
        """Ask for a file, or for the page of a project, or for the list of projects."""
        thing = (project, filename)
        if (question := self._by_thing.get(thing)) is not None:
            return question
        question = Question(thing)
        if self._lines is None:
            question.tell(Gone("The fetcher of this mirror is not running; it is started again."))
        elif len(self._by_id) >= MOST_OPEN:
            question.tell(Gone("Too many files and pages are requested now."))
        else:
            number = next(self._ids)
            self._by_thing[thing] = self._by_id[number] = question
            self._lines.put(line(_message(number, thing)))
        return question

    def used(self, files: list[tuple[str, str]]) -> bool:
        """Tell the fetcher which files were served; return whether there is a fetcher."""
        if self._lines is None:
            return False
        self._lines.put(line(Used(files)))
        return True

    def begin(self) -> None:
        """Take questions for a fetcher that is starting."""
        self._lines = SimpleQueue()

    def hang_up(self) -> None:
        """Tell the fetcher to end after all earlier messages."""
        if self._lines is not None:
            self._lines.put(b"")

    def talk(self, connection: socket) -> str:
        """Talk with a fetcher until it ends. Return why, as the beginning of a sentence."""
        assert self._lines is not None
        writer = gevent.spawn(_write, connection, self._lines)
        try:
            for said in _lines(connection):
                self._hear(said)
        except ConnectionError:  # it was killed, and had not read everything
            return "The fetcher ended"
        except (OSError, msgspec.MsgspecError) as error:
            return f"The fetcher cannot be understood ({error})"
        finally:
            writer.kill()
            connection.close()
        return "The fetcher ended"

    def end(self) -> None:
        """Give up all questions: there is no fetcher any more."""
        self._lines = None
        left = list(self._by_id.values())
        self._by_id.clear()
        self._by_thing.clear()
        for question in left:
            question.tell(Gone("The fetcher of this mirror ended; it is started again."))

    def _hear(self, said: bytes) -> None:
        message = from_fetcher(said)
        if isinstance(message, Counted):
            self._count(message.figures)
        elif isinstance(message, Ready):
            if message.version != __version__:
                told = f"The fetcher is pypimirror {message.version}, and this server {__version__}"
                print(f"{told}. Restart the server.", file=sys.stderr)
        elif isinstance(message, Coming):
            if (question := self._by_id.get(message.id)) is not None:
                question.tell(message)
        elif (question := self._by_id.pop(message.id, None)) is not None:
            question.tell(message)
            # Waiting greenlets run before this one. Until then, nobody has noted the answer, and a
            # new request gets it from the question.
            gevent.spawn(self._forget, question)

    def _forget(self, question: Question) -> None:
        if self._by_thing.get(question.thing) is question:
            del self._by_thing[question.thing]


def _message(number: int, thing: Thing) -> PageQuestion | IndexQuestion | FileQuestion:
    project, filename = thing
    if project is None:
        return IndexQuestion(number)
    return (
        PageQuestion(number, project)
        if filename is None
        else FileQuestion(number, project, filename)
    )


def _write(connection: socket, lines: SimpleQueue[bytes]) -> None:
    """Send lines. A fetcher that reads slowly holds up only this greenlet."""
    try:
        while said := lines.get():
            connection.sendall(said)
        connection.shutdown(SHUT_WR)
    except OSError:
        return  # its end is read, too


def _lines(connection: socket) -> Iterator[bytes]:
    """Yield complete lines until the connection ends. Raises `OSError`."""
    rest = b""
    while chunk := connection.recv(_CHUNK):
        *complete, rest = (rest + chunk).split(b"\n")
        yield from complete
        if len(rest) > _LONGEST:
            raise OSError(f"a line of more than {_LONGEST} bytes")
