"""The desk: answers the questions of the web server, each in a thread of its own.

Two questions for the same file or page share one answer. One thread works at a time, and the others
wait (`PriorityLock`). A thread lets others work while it waits for the upstream, for a database or
for object storage. A new question goes first, so that the upstream is asked while earlier answers
are worked on.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial

import msgspec

from pypimirror.catalog.engines import errors
from pypimirror.domain.model import PypimirrorError
from pypimirror.on_demand.files import DeskFiles, of_the_disk
from pypimirror.on_demand.messages import (
    Away,
    Coming,
    FileQuestion,
    Final,
    IndexQuestion,
    Message,
    PageQuestion,
)
from pypimirror.on_demand.once import Threads
from pypimirror.on_demand.pages import DeskPages
from pypimirror.pipeline.context.priority_lock import PriorityLock
from pypimirror.system import clock
from pypimirror.system.disk_errors import StorageError

log = logging.getLogger(__name__)

#: Most pages, and most files, that are fetched at the same time. More questions wait.
PAGES_AT_ONCE, FILES_AT_ONCE = 32, 64

Question = PageQuestion | IndexQuestion | FileQuestion


class Desk:
    """Answers questions. `send` gets each message for the server; threads call it."""

    def __init__(
        self,
        pages: DeskPages,
        files: DeskFiles,
        index: Callable[[], Final],
        send: Callable[[Message], None],
        priority: PriorityLock,
    ) -> None:
        self._pages = pages
        self._files = files
        self._index = index
        self._send = send
        self._priority = priority
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, str], list[int]] = {}  # ids, by what they ask for
        self._threads = {
            kind: Threads(number, kind.__name__)
            for kind, number in (
                (PageQuestion, PAGES_AT_ONCE),
                (IndexQuestion, 1),
                (FileQuestion, FILES_AT_ONCE),
            )
        }
        self._heard = clock.steady()

    def ask(self, question: Question) -> None:
        """Begin to answer a question."""
        self._heard = clock.steady()
        match question:
            case PageQuestion():
                key = (question.project, "")
            case FileQuestion():
                key = (question.project, question.filename)
            case IndexQuestion():
                key = ("", "")
        with self._lock:
            ids = self._asked.setdefault(key, [])
            ids.append(question.id)
            is_new = len(ids) == 1
        if is_new:
            self._threads[type(question)].do(partial(self._answer, question, key))

    def quiet_for(self) -> float:
        """Return the seconds since the last question or answer; 0 while one is under way."""
        with self._lock:
            return 0.0 if self._asked else clock.steady() - self._heard

    def _answer(self, question: Question, key: tuple[str, str]) -> None:
        try:
            answer = self._find(question, key)
        except (StorageError, OSError) as error:
            answer = of_the_disk(_shown(error))
        except (PypimirrorError, errors.SQLAlchemyError) as error:
            answer = Away(0, _shown(error))
        except Exception:  # the server waits for an answer, whatever happens
            log.exception("%s could not be answered", question)
            answer = Away(0, "An error of the program; its log says which.")
        with self._lock:
            ids = self._asked.pop(key)
            self._heard = clock.steady()
        for number in ids:
            self._send(msgspec.structs.replace(answer, id=number))

    def _find(self, question: Question, key: tuple[str, str]) -> Final:
        def tell(coming: Coming) -> None:
            with self._lock:
                ids = list(self._asked.get(key, ()))
            for number in ids:
                self._send(msgspec.structs.replace(coming, id=number))

        match question:
            case PageQuestion():
                with self._priority.taken(first=True, once=True):
                    return self._pages.page(question.project)
            case FileQuestion():
                with self._priority.taken(first=True, once=True):
                    return self._files.file(question.project, question.filename, tell)
            case IndexQuestion():  # another process does the work
                return self._index()


def _shown(error: PypimirrorError | errors.SQLAlchemyError | OSError) -> str:
    if isinstance(error, OSError):
        return str(StorageError(error.filename or "", error))
    if isinstance(error, errors.SQLAlchemyError):
        return f"The catalog could not be used: {errors.message(error)}"
    return str(error)
