"""Pages of projects, and the list of all projects, if the fetcher decides which page is right.

While a page is believed, the fetcher is not asked. Otherwise it is asked, and if the upstream is
slow or does not answer, the client gets an older page: it must neither wait for long nor believe
that the project does not exist. The page of the held files is the better one then, because all of
them can be installed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from packaging.utils import is_normalized_name
from werkzeug.wrappers import Request, Response

from pypimirror.domain.filenames import MAX_BYTES
from pypimirror.on_demand.messages import Absent, Final, Here, Refused
from pypimirror.serve import answers
from pypimirror.serve.answers import text
from pypimirror.serve.demand.figures import Figures
from pypimirror.serve.demand.link import Gone, Link
from pypimirror.serve.demand.remembered import Remembered
from pypimirror.serve.files import Directory, directory
from pypimirror.serve.processes.channel import Believed
from pypimirror.serve.tree import Tree

#: Seconds after which an older page goes out, and after which a client without one gets 503. The
#: first counts from the question, which others may have asked before; pip waits 15 seconds.
SOON = 2.0
PATIENCE = 12.0

#: Seconds after which a client may ask again.
AGAIN = "2"

#: Seconds for which it is remembered that the configuration leaves out a project.
REFUSED = 300.0

#: Most pages, and most absent projects, that are remembered.
MOST = 20_000


@dataclass(frozen=True)
class _Page:
    """Where a page is."""

    tree: Tree
    warning: str = ""

    # Kept: `isinstance` costs as much here as all else that on demand adds to a hit.
    @cached_property
    def plain(self) -> Directory | None:
        """The directory that has the page, if it can be sent without a warning."""
        return self.tree if isinstance(self.tree, Directory) and not self.warning else None


@dataclass(frozen=True)
class _Nothing:
    """There is no page, and why."""

    reason: str


class Pages:
    """The pages of a mirror with the tree `tree`."""

    def __init__(self, tree: Tree, link: Link, figures: Figures) -> None:
        self._tree = tree
        self._link = link
        self._figures = figures
        self._pages: Remembered[str | None, _Page] = Remembered(MOST)
        # Kept apart from pages, so that many wrong names cannot displace pages.
        self._nothing: Remembered[str | None, _Nothing] = Remembered(MOST)
        self._tell: Callable[[Believed], None] = lambda _: None

    def answer(self, request: Request, project: str | None) -> Response:
        """Answer with the page of a project, or with the list of projects."""
        if project is not None and not can_be_a_project(project):
            return text(404, "This is not the name of a project.")
        page = self._pages.believed(project)
        if page is not None and (response := self._send(page, request, project)):
            self._figures.counts["hits", "page"] += 1
            return response
        if (nothing := self._nothing.believed(project)) is not None:
            return text(404, nothing.reason)
        began = answers.began(request)
        response = self._ask(request, project, began)
        self._figures.counts["misses", "page"] += 1
        self._figures.took(time.monotonic() - began)
        return response

    def fetched(self, project: str, until: float) -> Directory | None:
        """Ask the fetcher, and return the place of a page that it brings without a warning.

        None if there is none at the time `until` (monotonic seconds), or if there is more to say.
        """
        if not can_be_a_project(project):
            return None
        if self._pages.believed(project) or self._nothing.believed(project):
            return None
        here = self._link.ask(project).wait_for_answer(until)
        if not isinstance(here, Here) or not here.path or here.held_only or here.warning:
            return None
        page = _Page(store(here.path, project))
        self._believe(project, page, here.seconds)
        self._nothing.forget(project)
        return page.plain

    def believed_tree(self, project: str | None) -> Directory | None:
        """Return the place of a page that is believed; None if the fetcher must be asked."""
        page = self._pages.believed(project)
        return page.plain if page is not None else None

    def on_belief(self, tell: Callable[[Believed], None]) -> None:
        """Report each page that is believed from now on."""
        self._tell = tell

    def believed_pages(self) -> Iterator[Believed]:
        """Yield all pages that are believed now."""
        for project, page, until in self._pages:
            if page.plain is not None:
                yield Believed(project, page.plain.shown, until)

    def _believe(self, project: str | None, page: _Page, seconds: float) -> None:
        self._pages.note(project, page, seconds)
        if page.plain is not None:
            self._tell(Believed(project, page.plain.shown, time.monotonic() + seconds))

    def _ask(self, request: Request, project: str | None, began: float) -> Response:
        question = self._link.ask(project)
        answer = question.wait_for_answer(min(question.since + SOON, began + PATIENCE))
        if answer is None:
            warning = '110 - "The fetcher has not answered yet."'
            if response := self._older(request, project, warning, held_first=False):
                return response
            answer = question.wait_for_answer(began + PATIENCE)
        match answer:
            case None:
                told = f"{_named(project)} is not here, and the fetcher has not answered yet."
                return self._failed(503, told)
            case Here():
                return self._here(request, project, answer)
            case Refused() | Absent():
                return self._none(request, project, answer)
        warning = f'111 - "{_quoted(answer.reason)}"'
        older = self._older(request, project, warning, held_first=True)
        return older or self._failed(status_of(answer), answer.reason)

    def _here(self, request: Request, project: str | None, here: Here) -> Response:
        warning = f'111 - "{_quoted(here.warning)}"' if here.warning else ""
        trees = [self._tree] if here.held_only or not here.path else []
        if here.path:
            trees.append(store(here.path, project))
        for tree in trees:
            page = _Page(tree, warning)
            if response := self._send(page, request, project):
                self._believe(project, page, here.seconds)
                self._nothing.forget(project)
                return response
        told = f"{_named(project)} was just removed. Try again."
        return self._failed(503, told)

    def _none(self, request: Request, project: str | None, answer: Refused | Absent) -> Response:
        """Answer without the fetcher, as a mirror without on demand does."""
        seconds = answer.seconds if isinstance(answer, Absent) else REFUSED
        held = _Page(self._tree)
        if response := self._send(held, request, project):
            self._believe(project, held, seconds)
            return response
        if isinstance(answer, Refused):
            self._figures.counts["refused", "page"] += 1
        self._pages.forget(project)
        self._nothing.note(project, _Nothing(answer.reason), seconds)
        return text(404, answer.reason)

    def _older(
        self, request: Request, project: str | None, warning: str, *, held_first: bool
    ) -> Response | None:
        """Answer with an older page: the last known one, or that of the held files."""
        last = self._pages.last(project)
        trees = [self._tree if last is None else last.tree, self._tree]
        for tree in reversed(trees) if held_first else trees:
            if response := self._send(_Page(tree, warning), request, project):
                return response
        return None

    def _send(self, page: _Page, request: Request, project: str | None) -> Response | None:
        response = answers.page(page.tree, request, project)
        if response is not None and page.warning:
            response.headers["Warning"] = page.warning
            self._figures.counts["stale", "page"] += 1
        return response

    def _failed(self, status: int, reason: str) -> Response:
        self._figures.counts["failed", "page"] += 1
        return unavailable(status, reason)


def store(path: str, project: str | None) -> Directory:
    """Return the fetcher's store, of which `path` is the directory of a page."""
    return directory(path.rsplit("/", 1 if project is None else 2)[0])


def can_be_a_project(name: str) -> bool:
    """Whether this is the normalised name of a project that an upstream can have."""
    return len(name) <= MAX_BYTES and is_normalized_name(name)


def unavailable(status: int, reason: str) -> Response:
    """Answer that a page or file is not available now.

    pip asks again after 502 and 503, and waits for `Retry-After`; after 504 it gives up.
    """
    response = text(status, reason)
    response.headers["Retry-After"] = AGAIN
    return response


def status_of(answer: Final | Gone) -> int:
    """Return the HTTP status for an answer of the fetcher without a page or file."""
    return 503 if isinstance(answer, Gone) else 502


def _named(project: str | None) -> str:
    return "The list of projects" if project is None else f"The page of {project}"


def _quoted(reason: str) -> str:
    """Return a text for a quoted string in a header."""
    plain = "".join(c if " " <= c <= "~" and c not in '"\\' else " " for c in reason)
    return " ".join(plain.split())[:500]
