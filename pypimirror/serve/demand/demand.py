"""Answers of a web server that can ask a fetcher for files that are not in the tree."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import gevent

from pypimirror.serve.demand.fetcher import FetcherProcess
from pypimirror.serve.demand.figures import Figures
from pypimirror.serve.demand.files import Files
from pypimirror.serve.demand.link import Link
from pypimirror.serve.demand.pages import Pages
from pypimirror.serve.demand.usage import Usage
from pypimirror.serve.direct.counts import AnswerCounts
from pypimirror.serve.files import Directory
from pypimirror.serve.tree import Tree

#: Seconds that a request waits for a direct answer; then it takes the long way, and waits there.
SOON = 0.5


class Demand:
    """On demand for the mirror of a configuration file, with the tree `tree`."""

    def __init__(self, tree: Tree, config: Path, counts: AnswerCounts) -> None:
        self.figures = Figures(counts)
        self._link = Link(self.figures.heard)
        self._fetcher = FetcherProcess(config, self._link)
        self._pages = Pages(tree, self._link, self.figures)
        self._files = Files(tree, self._link, self.figures)
        self._usage = Usage(self._link.used)
        self.page = self._pages.answer
        self.page_tree = self._pages.believed_tree
        self.misses = SoonFetched(self._pages, self._files, self.figures)
        self.missing_file = self._files.answer
        self.file = self._usage.note
        self.used_elsewhere = self._usage.add
        self.believed = self._pages.believed_pages
        self.on_belief = self._pages.on_belief

    def start(self) -> None:
        """Start the fetcher."""
        self._fetcher.start()
        gevent.spawn(self._usage.tell_often)

    def end(self) -> None:
        """End the fetcher."""
        self._usage.tell()
        self._fetcher.end()

    def used(self, parts: list[str]) -> None:
        """Note that a file of the tree was served the long way."""
        self.figures.counts["hits", "file"] += 1
        self._usage.note(parts)


class SoonFetched:
    """What the fetcher brings within `SOON`, for direct answers."""

    def __init__(self, pages: Pages, files: Files, figures: Figures) -> None:
        self._pages = pages
        self._files = files
        self._figures = figures

    def page(self, project: str) -> Directory | None:
        """Return the tree that has a page now, or None."""
        return self._pages.fetched(project, time.monotonic() + SOON)

    def file(self, parts: list[str]) -> Iterator[Directory]:
        """Yield the trees that may have a file now."""
        return self._files.fetched(parts, time.monotonic() + SOON)

    def answered(self, since: float, *, is_page: bool) -> None:
        """Count an answer to a request from the time `since`, in monotonic seconds."""
        self._figures.counts["misses", "page" if is_page else "file"] += 1
        self._figures.took(time.monotonic() - since)
