"""What a child reports: lines of JSON on its standard output.

The catalog has the results. These lines only carry what people watch, and how the child ended.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable

import msgspec

from pypimirror.domain.model import Problem, Stage

#: Seconds between two reports of progress, and between two lines of a child that has none.
PACE, ALIVE = 0.1, 1.0


class Began(msgspec.Struct, frozen=True, tag="began"):
    """The first line."""

    worker: int  #: the id of the child's worker in the catalog


class Moved(msgspec.Struct, frozen=True, tag="moved"):
    """Progress since the last such line: things and bytes to do, and things and bytes done, by
    stage."""

    stages: dict[Stage, tuple[int, int, int, int]]
    finished: int  #: projects


class LogLine(msgspec.Struct, frozen=True, tag="line"):
    """A line for people, or for the log of this name."""

    level: str  #: lower-case name of a level of the logging module; "" for an announcement
    message: str
    logger: str = ""


class FailureReport(msgspec.Struct, frozen=True, tag="failed"):
    """A failure, which the catalog has already."""

    stage: Stage
    problem: Problem


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The last line: facts that the run must know about the work of this child."""

    counts: dict[str, int] = {}
    answered: bool = False
    unreachable: Problem | None = None
    no_room: Problem | None = None
    unsure: list[Stage] = []
    stopped: Problem | None = None  #: why the run cannot go on
    stage: Stage = Stage.DISCOVER  #: where that was found out


Message = Began | Moved | LogLine | FailureReport | Ended


class Relay:
    """A reporter that passes everything on to another process, as lines.

    Progress is collected and passed on a few times a second. Safe to use from several threads.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._encoder = msgspec.json.Encoder()
        self._lock = threading.Lock()
        self._counts: Counter[tuple[Stage, int]] = Counter()
        self._finished = 0
        self._moved = threading.Event()
        self._ended = threading.Event()
        threading.Thread(target=self._tick, name="relay", daemon=True).start()

    def expect(self, projects: int) -> None:
        """Do nothing: the process that leads the run knows how many there are."""

    def finished(self, projects: int) -> None:
        """Count finished projects."""
        with self._lock:
            self._finished += projects
        self._moved.set()

    def begin(self, stage: Stage, total: int | None, size: int = 0) -> None:
        """Count things and bytes to do."""
        self._count(stage, total or 0, size, 0, 0)

    def advance(self, stage: Stage, things: int = 0, size: int = 0) -> None:
        """Count things and bytes that are done."""
        self._count(stage, 0, 0, things, size)

    def problem(self, stage: Stage, problem: Problem) -> None:
        """Pass a failure on."""
        self.send(FailureReport(stage, problem))

    def note(self, level: str, message: str) -> None:
        """Pass a line for the log on."""
        self.send(LogLine(level, message, "pypimirror"))

    def announce(self, message: str) -> None:
        """Pass a message to the user on."""
        self.send(LogLine("", message))

    def send(self, message: Message) -> None:
        """Pass a message on, after the progress so far."""
        with self._lock:
            self._flush()
            self._write(self._encoder.encode(message) + b"\n")

    def end(self, message: Ended) -> None:
        """Pass the last message on."""
        self._ended.set()
        self._moved.set()
        self.send(message)

    def _count(self, stage: Stage, *changes: int) -> None:
        with self._lock:
            for place, change in enumerate(changes):
                self._counts[stage, place] += change
        self._moved.set()

    def _flush(self, *, also_nothing: bool = False) -> None:
        if self._counts or self._finished or also_nothing:
            stages = {
                stage: tuple(self._counts[stage, place] for place in range(4))
                for stage in {stage for stage, _ in self._counts}
            }
            moved = Moved(stages, self._finished)  # type: ignore[arg-type]
            self._counts.clear()
            self._finished = 0
            self._write(self._encoder.encode(moved) + b"\n")

    def _tick(self) -> None:
        while not self._ended.wait(PACE):
            is_alive = not self._moved.wait(ALIVE)
            self._moved.clear()
            with self._lock:
                self._flush(also_nothing=is_alive)


class RelayHandler(logging.Handler):
    """Passes records of the program's logs on."""

    def __init__(self, relay: Relay) -> None:
        super().__init__()
        self._relay = relay
        # The level and the name go apart. `logging.basicConfig` would put them into the message.
        self.setFormatter(logging.Formatter("%(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a record on."""
        try:
            message = self.format(record)
        except Exception:  # noqa: BLE001 - as logging itself does
            self.handleError(record)
            return
        self._relay.send(LogLine(record.levelname.lower(), message, record.name))
