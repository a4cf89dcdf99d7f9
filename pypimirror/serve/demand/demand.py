"""Answers of a web server that can ask a fetcher for what is not in the tree."""

from __future__ import annotations

from pathlib import Path

import gevent

from pypimirror.domain.filenames import SIDECARS
from pypimirror.serve.demand.fetcher import Fetcher
from pypimirror.serve.demand.figures import Figures
from pypimirror.serve.demand.files import Files
from pypimirror.serve.demand.link import Link
from pypimirror.serve.demand.pages import Pages
from pypimirror.serve.direct.counts import Counts
from pypimirror.serve.tree import Tree

#: Seconds between two messages that say which files were served.
USED = 60.0
#: Most files in such a message.
MOST_USED = 20_000


class Demand:
    """On demand for the mirror of a configuration file, with the tree `tree`."""

    def __init__(self, tree: Tree, config: Path, counts: Counts) -> None:
        self.figures = Figures(counts)
        self._link = Link(self.figures.heard)
        self._fetcher = Fetcher(config, self._link)
        self._pages = Pages(tree, self._link, self.figures)
        self._files = Files(tree, self._link, self.figures)
        self._used: set[tuple[str, str]] = set()
        self.page = self._pages.answer
        self.page_tree = self._pages.believed_tree
        self.missing_file = self._files.answer

    def start(self) -> None:
        """Start the fetcher."""
        self._fetcher.start()
        gevent.spawn(self._tell_often)

    def end(self) -> None:
        """End the fetcher."""
        self._tell()
        self._fetcher.end()

    def used(self, parts: list[str]) -> None:
        """Note that a file of the tree was served."""
        self.figures.counts["hits", "file"] += 1
        self.file(parts)

    def file(self, parts: list[str]) -> None:
        """Note that a file of the tree was sent directly."""
        if len(parts) == 2 and not parts[1].endswith(SIDECARS) and len(self._used) < MOST_USED:
            self._used.add((parts[0], parts[1]))

    def _tell_often(self) -> None:
        while True:
            gevent.sleep(USED)
            self._tell()

    def _tell(self) -> None:
        if self._used and self._link.used(sorted(self._used)):
            self._used.clear()
