"""Files that are not in the mirror's tree.

A small file is verified before its first byte goes out, if a client can wait so long, and so is a
file that only its structure proves. Others are streamed (`streaming`). Only a file that no upstream
offers is 404.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from werkzeug.wrappers import Request, Response

from pypimirror.domain.filenames import check_filename
from pypimirror.domain.layout import METADATA_SUFFIX
from pypimirror.domain.objects.headers import FILE_CACHE, file_type
from pypimirror.on_demand.messages import Absent, Coming, Final, Here, Refused
from pypimirror.serve import answers
from pypimirror.serve.answers import text
from pypimirror.serve.demand.figures import Figures
from pypimirror.serve.demand.link import Gone, Link, Question
from pypimirror.serve.demand.pages import PATIENCE, can_be_a_project, status_of, unavailable
from pypimirror.serve.demand.remembered import Remembered
from pypimirror.serve.demand.streaming import StreamedBody, StreamedResponse, proving
from pypimirror.serve.files import Directory, directory
from pypimirror.serve.tree import OpenFile, Tree

#: Bytes up to which a file is verified before its first byte is sent, and seconds that this may
#: take. Larger files, and slower ones, are streamed.
SMALL = 8 << 20
SOON = 5.0

#: Most absent files that are remembered.
MOST = 20_000


class Files:
    """The files that a mirror with the tree `tree` does not hold."""

    def __init__(self, tree: Tree, link: Link, figures: Figures) -> None:
        self._tree = tree
        self._link = link
        self._figures = figures
        self._nothing: Remembered[tuple[str, str], str] = Remembered(MOST)

    def answer(self, request: Request, parts: list[str]) -> Response:
        """Answer with the file `packages/<parts>`, which is not in the tree."""
        if not _can_be_asked_for(parts):
            return text(404, "No such file on this mirror.")
        project, filename = parts
        if (reason := self._nothing.believed((project, filename))) is not None:
            return text(404, reason)
        began = answers.began(request)
        response = self._wait(request, self._link.ask(project, filename), began)
        self._figures.counts["misses", "file"] += 1
        self._figures.took(time.monotonic() - began)
        return response

    def fetched(self, parts: list[str], until: float) -> Iterator[Directory]:
        """Ask the fetcher, and yield the directories that may have the file which it brings.

        There is none if it is not here at the time `until` (monotonic seconds), or to be streamed.
        """
        if not _can_be_asked_for(parts) or self._nothing.believed((parts[0], parts[1])) is not None:
            return
        question = self._link.ask(parts[0], parts[1])
        while question.answer is None and question.wait(until):
            if question.coming is not None and _is_large(question.coming):
                return
        if isinstance(question.answer, Here):
            for tree in self._places(question, question.answer):
                if isinstance(tree, Directory):
                    yield tree

    def _wait(self, request: Request, question: Question, began: float) -> Response:
        """Wait until there is an answer, or until the file is streamed."""
        soon, late = began + SOON, began + PATIENCE
        while question.answer is None:
            now = time.monotonic()
            coming = question.coming
            is_time = coming is not None and (now >= soon or _is_large(coming))
            if coming is not None and is_time and _can_stream(request, coming, late=now >= late):
                return self._stream(question, coming)
            if now >= late:
                told = "This file is still being fetched. Ask again in a moment."
                return self._failed(503, told)
            question.wait(soon if now < soon else late)
        return self._told(request, question, question.answer)

    def _told(self, request: Request, question: Question, answer: Final | Gone) -> Response:
        project, filename = _names(question)
        match answer:
            case Here():
                for tree in self._places(question, answer):
                    if here := answers.package(tree, request, [project, filename]):
                        return here
                return self._failed(503, "This file was just moved. Ask again.")
            case Absent():
                self._nothing.note((project, filename), answer.reason, answer.seconds)
                return text(404, answer.reason)
            case Refused():
                self._figures.counts["refused", "file"] += 1
                return text(403, answer.reason)
        return self._failed(status_of(answer), answer.reason)

    def _places(self, question: Question, here: Here) -> Iterator[Tree]:
        """Yield where a file can be: in the fetcher's store, and soon after in the mirror."""
        if here.path:
            yield directory(here.path.rsplit("/", 3)[0])
        self._tree.forget("packages", *_names(question))
        yield self._tree

    def _stream(self, question: Question, coming: Coming) -> Response:
        body = StreamedBody(question, coming, lambda here: self._opened(question, here))
        response = StreamedResponse(
            self._noting(question, body),
            headers={"Cache-Control": FILE_CACHE},
            content_type=file_type(_names(question)[1]),
            direct_passthrough=True,
        )
        if coming.size is not None:
            response.content_length = coming.size
        return response

    def _opened(self, question: Question, here: Here) -> OpenFile | None:
        found = (tree.open("packages", *_names(question)) for tree in self._places(question, here))
        return next((file for file in found if file is not None), None)

    def _noting(self, question: Question, body: StreamedBody) -> Iterator[bytes]:
        """Yield the bytes of an answer, and say so if it is cut."""
        try:
            yield from body
        except ConnectionAbortedError as error:
            self._figures.counts["failed", "file"] += 1
            print(f"pypimirror: {_names(question)[1]}: {error.strerror}", file=sys.stderr)
            raise

    def _failed(self, status: int, reason: str) -> Response:
        self._figures.counts["failed", "file"] += 1
        return unavailable(status, reason)


def _names(question: Question) -> tuple[str, str]:
    project, filename = question.thing
    assert project is not None
    assert filename is not None
    return project, filename


def _can_be_asked_for(parts: list[str]) -> bool:
    """Whether a path names a file, or its core metadata, as an upstream can have it."""
    if len(parts) != 2 or not can_be_a_project(parts[0]):
        return False
    return check_filename(parts[1].removesuffix(METADATA_SUFFIX), parts[0]) is None


def _is_large(coming: Coming) -> bool:
    return (coming.received if coming.size is None else coming.size) > SMALL


def _can_stream(request: Request, coming: Coming, *, late: bool) -> bool:
    """Whether the client would notice a cut answer, and whether the server can hold back its end.

    A client notices by the length, or in HTTP/1.1 by the missing last chunk. An answer to HEAD has
    no chunks, and an empty file has no end to hold back. A file that no claim proves has to be
    `late`: until then, the client can still get an error that says why there is none.
    """
    if coming.size == 0:
        return False
    if proving(coming) is None and (not late or request.method == "HEAD"):
        return False
    chunks = request.environ.get("SERVER_PROTOCOL") != "HTTP/1.0" and request.method != "HEAD"
    return coming.size is not None or chunks
