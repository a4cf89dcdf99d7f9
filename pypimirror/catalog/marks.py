"""The marks: facts about the mirror as a whole, each with a name, a type and a meaning.

Only this module knows their names. `pypimirror.catalog.queries.marks` reads and writes them, and
`pypimirror.catalog.damage` checks their values. To add a mark, add a line here with its meaning.

A mark that is not set is None. Catalogs of earlier releases have these names and forms, so they
must not change without a migration.

This module knows no SQL.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import msgspec

from pypimirror.catalog import mirror_totals
from pypimirror.catalog.mirror_totals import Totals

if TYPE_CHECKING:
    from pypimirror.catalog.figures.closure import ClosureFigures
    from pypimirror.catalog.figures.statistics import Statistics

T = TypeVar("T")


class MarkFormat(NamedTuple, Generic[T]):
    """How values of one type are written as text."""

    parse: Callable[[str], T]  #: raises `ValueError`
    write: Callable[[T], str]


class Mark(Generic[T]):
    """One mark."""

    def __init__(self, name: str, form: MarkFormat[T]) -> None:
        self.name = name
        self.form = form


class UpstreamMark(Generic[T]):
    """A mark that exists once for each upstream."""

    def __init__(self, prefix: str, form: MarkFormat[T]) -> None:
        self.prefix = prefix
        self.form = form

    def of(self, upstream: str) -> Mark[T]:
        """Return the mark of one upstream, by its name."""
        return Mark(self.prefix + upstream, self.form)


# Forms of values


def _time(text: str) -> float:
    seconds = float(text)
    if not isfinite(seconds):
        raise ValueError("it is not a time")
    return seconds


def _two(text: str) -> tuple[int, int]:
    first, second = mirror_totals.numbers(text)
    return first, second


def _one(text: str) -> int:
    (number,) = mirror_totals.numbers(text)
    return number


def _written(numbers: tuple[int, ...]) -> str:
    return " ".join(map(str, numbers))


def _statistics(text: str) -> Statistics:
    from pypimirror.catalog.figures import statistics as figures  # slow

    return figures.parse(text)


def _statistics_text(value: Statistics) -> str:
    from pypimirror.catalog.figures import statistics as figures

    return figures.text(value)


def _closure(text: str) -> ClosureFigures:
    from pypimirror.catalog.figures import closure as closed  # slow

    return closed.parse(text)


def _closure_text(value: ClosureFigures) -> str:
    from pypimirror.catalog.figures import closure as closed

    return closed.text(value)


TEXT: MarkFormat[str] = MarkFormat(str, str)
#: Seconds since the epoch.
TIME: MarkFormat[float] = MarkFormat(_time, repr)
NUMBER: MarkFormat[int] = MarkFormat(_one, str)
#: Two numbers.
PAIR: MarkFormat[tuple[int, int]] = MarkFormat(_two, _written)
#: Numbers, as many as there are.
NUMBERS: MarkFormat[tuple[int, ...]] = MarkFormat(mirror_totals.numbers, _written)


class Replaced(NamedTuple):
    """How many files a run has removed from pages because their digests changed upstream."""

    run: int  #: its id
    projects: int = 0
    files: int = 0


class ListRead(NamedTuple):
    """Facts that a run has seen about an upstream's project list."""

    run: int  #: its id
    selected: int  #: number of projects in it that this mirror selects
    without_page: int = 0  #: number of these that have no page at any upstream
    examples: tuple[str, ...] = ()  #: names of some of these


def _replaced(text: str) -> Replaced:
    return Replaced(*_numbers(text, 3))


def _list_read(text: str) -> ListRead:
    parts = text.split()
    run, selected, without_page = _numbers(" ".join(parts[:3]), 3)
    return ListRead(run, selected, without_page, tuple(parts[3:]))


def _list_read_text(value: ListRead) -> str:
    return " ".join((*map(str, value[:3]), *value.examples))


def _numbers(text: str, length: int) -> tuple[int, ...]:
    found = mirror_totals.numbers(text)
    if len(found) != length:
        raise ValueError(f"{text[:60]!r} is not {length} numbers")
    return found


TOTALS: MarkFormat[Totals] = MarkFormat(mirror_totals.parse, _written)
CLOSURE_FORM: MarkFormat[ClosureFigures] = MarkFormat(_closure, _closure_text)
#: Texts by name.
TEXTS: MarkFormat[dict[str, str]] = MarkFormat(
    msgspec.json.Decoder(dict[str, str]).decode, lambda texts: msgspec.json.encode(texts).decode()
)
STATISTICS_FORM: MarkFormat[Statistics] = MarkFormat(_statistics, _statistics_text)


# The directory that the catalog belongs to

#: The identity of the mirror: the same as in the file `identity` of the private directory.
MIRROR = Mark("mirror", TEXT)
#: The generation of the mirror root when this catalog saw it last; see `storage.generation`.
GENERATION = Mark("generation", TEXT)
#: Why catalog and mirror root may not be from the same run. Cleared after all files were checked.
DOUBT = Mark("in doubt", TEXT)

# Earlier settings, so that a change is noticed

#: Digest of the selection that was last applied to the whole catalog.
SELECTION = Mark("selection", TEXT)
#: The value of `[verify] accept` that held files were last compared with.
ACCEPT = Mark("accept", TEXT)
#: Set, and empty, while files that are deleted upstream stay (`[delete] keep`).
KEEP = Mark("keep", TEXT)
#: Digest of the settings that decide whether a file can be fetched.
TERMS_OF_TRIES = Mark("terms of tries", TEXT)
#: Digest of the settings that decide which files are refused.
TERMS_OF_REFUSALS = Mark("terms of refusals", TEXT)

# Needed projects

#: Set while no file has changed since the closure was computed: the key of that closure.
CLOSED = Mark("closed", TEXT)
#: What the last closure found, as `pypimirror.catalog.figures.closure` writes it.
CLOSURE = Mark("closure", CLOSURE_FORM)
#: The resolved locks, by file name (`pypimirror.pipeline.resolution`).
RESOLVED = Mark("resolved locks", TEXTS)

# Observations of upstreams

#: When a share of its unchanged projects was last checked again.
RECHECK = UpstreamMark("recheck ", TIME)
#: Set, and empty, if its project list was ever read.
HAS_LIST = UpstreamMark("has a list: ", TEXT)
#: Number of changed pages whose serial changed, and of those whose serial did not.
SERIALS = UpstreamMark("serials ", PAIR)
#: How many projects of its list have no page, in the run that read the list last.
LIST_READ = UpstreamMark("list read ", MarkFormat(_list_read, _list_read_text))
#: Files with changed digests that the last run with such files has removed from pages.
REPLACED = Mark("replaced", MarkFormat(_replaced, _written))

# The state of the disk

#: The forms in which all pages were written.
FORMATS = Mark("formats", TEXT)
#: The renderer version of all pages, if they have the same one.
RENDERER = Mark("renderer", NUMBER)
#: The renderer version of the root index.
ROOT_RENDERER = Mark("root renderer", NUMBER)
#: Empty: only entries with `projects.root_entry_stale` may be old. `STALE`, or not set: the whole
#: root index must be written again.
ROOT_INDEX = Mark("root index", TEXT)
STALE = "stale"
#: Stamp and digest of the root index when it was last right.
ROOT_INDEX_SEEN = Mark("root index seen", TEXT)
#: Totals of all pages.
HELD = Mark("held", TOTALS)
#: Statistics for metrics that are too slow to count each time.
STATISTICS = Mark("statistics", STATISTICS_FORM)

#: Set, and empty, once each project with a page has a row in `summaries`.
SUMMARIES = Mark("summaries", TEXT)
#: Pages that runs have written since the index of words was merged, without those of small runs.
UNMERGED = Mark("pages since words were merged", NUMBER)
#: Digest of the subjects that `[select] check` last found complete, and of the pages then.
CHECKED = Mark("checked", TEXT)

# Time, and requests

#: The latest time in the future that a run found; of several runs, the earliest of these.
AHEAD = Mark("time that was ahead", TIME)
#: Set, and empty, while request workers may claim projects beside the run that holds the lease.
OPEN = Mark("open to requests", TEXT)
#: Set, and empty, when a request worker had to wait for a run that is alone with the mirror.
WAITING = Mark("requests wait", TEXT)
#: The files, by id, that the run has left to request workers (`pipeline.asked.leaving`).
LEFT = Mark("left to requests", NUMBERS)
#: The generation, and the request workers that change the served directories since they agreed
#: with it; see `pipeline.ownership.agreed`.
CHANGING = Mark("changing", TEXT)

_ALL = tuple(each for each in list(globals().values()) if isinstance(each, Mark | UpstreamMark))
#: Names of the marks, and prefixes of the names of upstream marks.
NAMES = frozenset(each.name for each in _ALL if isinstance(each, Mark))
PREFIXES = tuple(each.prefix for each in _ALL if isinstance(each, UpstreamMark))
_FORMS: dict[str, MarkFormat[Any]] = {
    each.name: each.form for each in _ALL if isinstance(each, Mark)
}


def is_fit(name: str, value: str) -> bool:
    """Whether this program may have written a value of a mark. Unknown marks may have any text."""
    form = _FORMS.get(name) or next(
        (m.form for m in _ALL if isinstance(m, UpstreamMark) and name.startswith(m.prefix)), TEXT
    )
    try:
        form.parse(value)
    except (ValueError, RecursionError):
        return False
    return True
