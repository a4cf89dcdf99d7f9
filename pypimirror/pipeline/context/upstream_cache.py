"""Answers of upstreams that this process keeps, so that one run does not ask twice."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from pypimirror.pipeline.context.reading import Reading


class UpstreamCache(Struct):
    """Answers of upstreams, by the upstream's name.

    Nothing depends on it: another process of the same run has an empty cache and asks again. Facts
    that the run itself needs are in the catalog.
    """

    #: Upstreams whose project list this process has read.
    read: set[str] = field(default_factory=set)
    #: Unusual addresses of pages in these lists, by project.
    places: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    #: Hints on what is wrong with the address of an upstream.
    hints: dict[str, str] = field(default_factory=dict)
    #: Ids of files for whose core metadata the upstream had no good answer.
    without_metadata: set[int] = field(default_factory=set)
    #: Versions on the pages that this process has read, by project, as lines; noted if requirements
    #: are followed. A file without a version has an empty line.
    versions: dict[str, str] = field(default_factory=dict)
    #: Contents of pages of links, by the name of the place.
    link_pages: dict[str, Reading] = field(default_factory=dict)
