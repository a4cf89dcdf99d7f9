"""Find the direct answer to a request: a page of a project, the root index, or a file.

There is none for an address with an escape, a query or a name that is not normalised, nor for an
absent file. With on demand, the first process also waits a little for the fetcher (`fetch`). The
rules of the long way apply here, too: `negotiation` chooses the form of a page, `answers` makes its
headers, `files` decides what may be opened.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from io import FileIO
from typing import NamedTuple, Protocol

from pypimirror.serve.answers import PAGE_NAMES, file_headers, page_form, page_headers
from pypimirror.serve.direct.counts import AnswerCounts
from pypimirror.serve.direct.heads import RequestHead
from pypimirror.serve.direct.ready import Kept, ReadyAnswer, make, state_of
from pypimirror.serve.files import Directory, OpenedFile
from pypimirror.serve.negotiation import PAGE_FILES, negotiate

#: Pages of fewer bytes are kept in memory.
SMALL = 256 * 1024

_PAGE = re.compile(r"/simple/(?:([a-z0-9]+(?:-[a-z0-9]+)*)/)?")
_FILE = re.compile(r"/packages((?:/[A-Za-z0-9_+!-][A-Za-z0-9._+!-]*)+)")

_OK = b"HTTP/1.1 200 OK\r\n"
_NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\n"


class DirectAnswer(NamedTuple):
    """An answer: a head without its date and its end, and a body."""

    status: int
    head: bytes
    body: bytes = b""
    file: FileIO | None = None  #: the body, open; the sender closes it
    size: int = 0  #: bytes of the file


class Hits(Protocol):
    """Says which pages can be sent without a question, and is told which files were sent."""

    def page_tree(self, project: str | None) -> Directory | None:
        """Return the tree that has a project's page, or the root index; None: the fetcher must be
        asked.
        """

    def file(self, parts: list[str]) -> None:
        """Note that the file `packages/<parts>` was sent."""


class Misses(Protocol):
    """Asks the fetcher for pages and files that are not here, and waits a little for them."""

    def page(self, project: str) -> Directory | None:
        """Return the tree that has the page now; None: the long way finds out more."""

    def file(self, parts: list[str]) -> Iterator[Directory]:
        """Yield the trees that may have the file `packages/<parts>` now."""

    def answered(self, since: float, *, is_page: bool) -> None:
        """Note that a request from the time `since` (monotonic seconds) got an answer."""


class TreeHits:
    """A mirror without on demand: its tree is right."""

    def __init__(self, tree: Directory) -> None:
        self._tree = tree

    def page_tree(self, project: str | None) -> Directory:  # noqa: ARG002
        """Return the tree."""
        return self._tree

    def file(self, parts: list[str]) -> None:
        """Do nothing."""


class Direct:
    """The direct answers of a process of the web server, with the tree `tree`."""

    def __init__(
        self, tree: Directory, hits: Hits, counts: AnswerCounts, misses: Misses | None = None
    ) -> None:
        self._tree = tree
        self._hits = hits
        self._counts = counts
        self._misses = misses
        self._kept = Kept()

    def find(self, head: RequestHead) -> DirectAnswer | None:
        """Return the answer to a request; None if it has to go the long way."""
        answer = None
        try:
            if page := _PAGE.fullmatch(head.target):
                answer = self._page(head, page[1])
            elif file := _FILE.fullmatch(head.target):
                answer = self._file(head, file[1])
        except OSError:  # the long way says what it is
            return None
        if answer is not None:
            self._counts.answered(answer.status)
            self._counts.direct(is_page=page is not None)
        return answer

    def can_fetch(self, head: RequestHead) -> bool:
        """Whether `fetch` may find an answer: the request is for a page or a file on demand."""
        if self._misses is None:
            return False
        page = _PAGE.fullmatch(head.target)
        return bool(page[1]) if page else _FILE.fullmatch(head.target) is not None

    def fetch(self, head: RequestHead, since: float) -> DirectAnswer | None:
        """Ask the fetcher for what `find` did not find, and wait a little. None: as in `find`.

        `since` is the time of the request in monotonic seconds.
        """
        assert self._misses is not None
        answer = None
        page, file = _PAGE.fullmatch(head.target), _FILE.fullmatch(head.target)
        try:
            if page:
                tree = self._misses.page(page[1])
                answer = None if tree is None else self._page_of(tree, head, page[1])
            elif file:
                parts = file[1][1:].split("/")
                found = (self._file_of(tree, head, parts) for tree in self._misses.file(parts))
                answer = next(filter(None, found), None)
        except OSError:
            return None
        if answer is not None:
            self._counts.answered(answer.status)
            self._misses.answered(since, is_page=page is not None)
        return answer

    def _page(self, head: RequestHead, project: str | None) -> DirectAnswer | None:
        tree = self._hits.page_tree(project)
        return None if tree is None else self._page_of(tree, head, project)

    def _page_of(
        self, tree: Directory, head: RequestHead, project: str | None
    ) -> DirectAnswer | None:
        # If the preferred form exists, it does not matter whether the other form exists.
        form = negotiate(head.fields.accept, None, PAGE_NAMES)
        if form is None:
            return None
        where = (
            ("simple", PAGE_FILES[form])
            if project is None
            else ("simple", project, PAGE_FILES[form])
        )
        key = f"{form} {tree.path(*where)}"
        ready = self._kept.get(key)
        if ready is not None and ready.body is not None and _is_of(ready, tree.state(*where)):
            return _answer(head, ready, None)
        file = tree.open(*where)
        if file is None:
            return None
        if ready is None or not _is_of(ready, file.stat):
            headers = page_headers(file, page_form(form)) | {"Vary": "Accept"}
            body = file.handle.readall() if file.size < SMALL else None
            ready = self._kept.noted(key, make(file, headers, body), file)
        return _answer(head, ready, file)

    def _file(self, head: RequestHead, path: str) -> DirectAnswer | None:
        parts = path[1:].split("/")
        answer = self._file_of(self._tree, head, parts)
        if answer is not None:
            self._hits.file(parts)
        return answer

    def _file_of(self, tree: Directory, head: RequestHead, parts: list[str]) -> DirectAnswer | None:
        file = tree.open("packages", *parts)
        if file is None:
            return None
        path = "/".join(parts)
        ready = self._kept.get(path)
        if ready is None or not _is_of(ready, file.stat):
            ready = self._kept.noted(path, make(file, file_headers(file, parts[-1]), None), file)
        return _answer(head, ready, file)


def _is_of(ready: ReadyAnswer, state: os.stat_result) -> bool:
    return ready.state == state_of(state)


def _answer(head: RequestHead, ready: ReadyAnswer, file: OpenedFile | None) -> DirectAnswer:
    """Return the answer, with the file if its bytes are sent."""
    is_known = head.fields.etag == ready.etag
    told = _NOT_MODIFIED + ready.shared if is_known else _OK + ready.shared + ready.content
    if file is not None and (is_known or head.is_head or ready.body is not None or not ready.size):
        file.handle.close()
        file = None
    body = b"" if is_known or head.is_head else ready.body or b""
    handle = file.handle if file is not None else None
    return DirectAnswer(304 if is_known else 200, told, body, handle, ready.size)
