"""What a run learns of its upstreams while it looks for changes."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from pypimirror.pipeline.context.reading import Reading


@dataclass
class Discovered:
    """What is known of the upstreams' lists and pages of links in a run.

    `pipeline.discover.lists.listings` has the rules. A process that does not know it asks again.
    """

    #: The projects whose pages are asked for because a list has them, with their serials there.
    listed: dict[str, int | None] = field(default_factory=dict)
    #: Where lists say that pages are, by upstream and project, if not where one looks.
    places: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    #: How many projects of each list are selected.
    sizes: Counter[str] = field(default_factory=Counter)
    #: Upstreams of which the list was read, and those that have none.
    read: set[str] = field(default_factory=set)
    without: set[str] = field(default_factory=set)
    #: Names of each list that no upstream has a page of.
    nowhere: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    #: What upstreams are instead of an index that has what was asked for.
    hints: dict[str, str] = field(default_factory=dict)
    #: What was told of lists: there is one line for them in the record of a run.
    told: list[str] = field(default_factory=list)
    #: Of the upstreams whose lists said plainly that they are unchanged: what was asked, and how.
    unchanged: dict[str, tuple[str, dict[str, str]]] = field(default_factory=dict)
    #: What pages of links say, by the name of the place.
    link_pages: dict[str, Reading] = field(default_factory=dict)
    #: How many files on pages were replaced so far, by project; see
    #: `pipeline.discover.decisions.replacing`.
    replaced: dict[str, int] = field(default_factory=dict)
