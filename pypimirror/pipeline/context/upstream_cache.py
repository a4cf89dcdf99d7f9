"""Answers of upstreams that this process keeps, so that it does not ask twice in one run."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from pypimirror.pipeline.context.reading import Reading


@dataclass
class UpstreamCache:
    """Answers of upstreams, each by the upstream's name.

    Nothing depends on it: another process of the same run has none of it, and asks again. What
    the run itself has to remember stands in the catalog.
    """

    #: Upstreams whose project list this process has read.
    read: set[str] = field(default_factory=set)
    #: Where these lists say that pages are, by project, where that is not the usual place.
    places: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    #: What an address is, if it is not that of an index with the project that was asked for.
    hints: dict[str, str] = field(default_factory=dict)
    #: Address and headers of the request to which a project list was "not modified".
    unchanged: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    #: What pages of links offer, by the name of the place.
    link_pages: dict[str, Reading] = field(default_factory=dict)
