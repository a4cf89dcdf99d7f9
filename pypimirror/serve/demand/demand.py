"""Answers of a web server that can ask a fetcher for files that are not in the tree."""

from __future__ import annotations

from pathlib import Path

import gevent

from pypimirror.serve.demand.fetcher import FetcherProcess
from pypimirror.serve.demand.figures import Figures
from pypimirror.serve.demand.files import Files
from pypimirror.serve.demand.link import Link
from pypimirror.serve.demand.pages import Pages
from pypimirror.serve.demand.usage import Usage
from pypimirror.serve.direct.counts import AnswerCounts
from pypimirror.serve.tree import Tree


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
