"""A real fetcher under test, and the web server's end of its link."""

from __future__ import annotations

import itertools
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pypimirror.on_demand import messages
from pypimirror.on_demand.messages import (
    Coming,
    Counted,
    FileQuestion,
    Final,
    IndexQuestion,
    Message,
    PageQuestion,
    Ready,
)
from tests.mirror import Mirror
from tests.simulator import Simulator

#: Seconds until an answer has to be there.
PATIENCE = 60.0


def on_demand(base: Path, *simulators: Simulator, **sections: dict[str, Any]) -> Mirror:
    """Return a mirror that selects nothing, and whose clients may ask for everything."""
    mirror = Mirror(base, *simulators, on_demand={"projects": ["*"]}, mirror={"reserve": 0})
    mirror.configure(**sections)
    return mirror


class Fetcher:
    """A fetcher of a mirror: a process. Safe to use from several threads."""

    def __init__(self, mirror: Mirror, *program: str) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            given = ["--config", str(mirror.file), "--link", str(theirs.fileno())]
            self.process = subprocess.Popen(
                [sys.executable, "-m", *(program or (messages.MODULE,)), *given],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        self._link = ours
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._answers: dict[int, Final] = {}
        self.coming: dict[int, list[Coming]] = {}
        self.figures: dict[str, float] = {}
        self.is_ready = self.is_over = False
        threading.Thread(target=self._read, daemon=True).start()
        self._wait(lambda: self.is_ready or self.is_over)
        assert self.is_ready or program, "the fetcher has ended"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Be gone, as a server is; the fetcher ends."""
        self.hang_up()
        self.process.wait(PATIENCE)

    def hang_up(self) -> None:
        """Be gone, and do not wait for the fetcher."""
        self._link.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        """Kill the fetcher."""
        self.process.kill()
        self.process.wait(PATIENCE)

    def page(self, project: str) -> Final:
        """Ask for a page and wait for the answer."""
        return self.wait(self.ask(PageQuestion(0, project)))

    def file(self, project: str, filename: str) -> Final:
        """Ask for a file and wait for the answer."""
        return self.wait(self.ask(FileQuestion(0, project, filename)))

    def ask(self, question: PageQuestion | IndexQuestion | FileQuestion) -> int:
        """Ask, and return the number of the question."""
        number = next(self._numbers)
        fields = {name: getattr(question, name) for name in question.__struct_fields__}
        self.send(type(question)(**fields | {"id": number}))
        return number

    def send(self, message: Message) -> None:
        """Send a message."""
        self._link.sendall(messages.line(message))

    def wait_end(self, *numbers: int) -> None:
        """Wait until questions are answered, or the fetcher has ended."""
        self._wait(lambda: self.is_over or all(number in self._answers for number in numbers))

    def wait(self, number: int) -> Final:
        """Wait for the answer to a question."""
        self._wait(lambda: number in self._answers)
        return self._answers[number]

    def wait_coming(self, number: int, received: int = 0) -> Coming:
        """Wait until so many bytes of a file are there."""
        self._wait(lambda: any(c.received >= received for c in self.coming.get(number, ())))
        return self.coming[number][-1]

    def wait_placed(self, mirror: Mirror, *filenames: str) -> None:
        """Wait until files are on their pages, and the keeper is done with them."""
        for filename in filenames:
            self.wait_state(mirror, filename, "published")

    def wait_state(self, mirror: Mirror, filename: str, state: str) -> None:
        """Wait until a file has a state, and no fetcher has it any more."""
        deadline = time.monotonic() + PATIENCE
        query = "SELECT 1 FROM asked WHERE filename = ? AND worker_id IS NOT NULL"
        while mirror.state(filename) != state or mirror.query(query, filename):
            assert time.monotonic() < deadline, f"{filename}: is {mirror.state(filename)}"
            time.sleep(0.05)

    def wait_figures(self) -> dict[str, float]:
        """Wait for figures."""
        self._wait(lambda: bool(self.figures))
        return self.figures

    def is_answered(self, number: int) -> bool:
        """Whether a question was answered."""
        return number in self._answers

    def _wait(self, happened: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: happened() or self.is_over, PATIENCE)
            assert happened(), "the fetcher has ended"

    def _read(self) -> None:
        with self._link.makefile("rb") as lines:
            for line in lines:
                self._heard(messages.from_fetcher(line))
        with self._changed:
            self.is_over = True
            self._changed.notify_all()

    def _heard(self, message: messages.FromFetcher) -> None:
        with self._changed:
            match message:
                case Ready():
                    self.is_ready = True
                case Coming():
                    self.coming.setdefault(message.id, []).append(message)
                case Counted():
                    self.figures = message.figures
                case _:
                    assert message.id not in self._answers, "answered twice"
                    self._answers[message.id] = message
            self._changed.notify_all()
