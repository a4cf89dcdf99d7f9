"""What a run learns of project lists: a value. `lists.listings` has the rules."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass
class Listings:
    """What is known of the lists in a run, beside serials."""

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
