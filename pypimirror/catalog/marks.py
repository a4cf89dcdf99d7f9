"""The marks: facts about the mirror as a whole, each with its name, its type and what it means.

This is the only place that knows their names. `pypimirror.catalog.queries.marks` reads and writes
them; `pypimirror.catalog.damage` holds all of them against what they must be. A new mark is a line
here, with its meaning.

A mark that is not there is None. Names and forms are in the catalogs of earlier releases: they stay
as they are, or are brought up to date by a migration.

Knows no SQL, and imports nothing that is slow: runs that find nothing to do read marks, too.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from pypimirror.catalog import mirror_totals
from pypimirror.catalog.mirror_totals import Totals

if TYPE_CHECKING:
    from pypimirror.catalog.figures import Statistics

T = TypeVar("T")


class Form(NamedTuple, Generic[T]):
    """How values of one type are written in the catalog."""

    parse: Callable[[str], T]  #: raises `ValueError`
    write: Callable[[T], str]


class Mark(Generic[T]):
    """One mark."""

    def __init__(self, name: str, form: Form[T]) -> None:
        self.name = name
        self.form = form


class UpstreamMark(Generic[T]):
    """A mark that each upstream has one of."""

    def __init__(self, prefix: str, form: Form[T]) -> None:
        self.prefix = prefix
        self.form = form

    def of(self, upstream: str) -> Mark[T]:
        """Return the mark of one upstream, by its name."""
        return Mark(self.prefix + upstream, self.form)


# How they are written


def _time(text: str) -> float:
    seconds = float(text)
    if not isfinite(seconds):
        raise ValueError("it is no time")
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
    from pypimirror.catalog import figures  # slow

    return figures.parse(text)


def _statistics_text(value: Statistics) -> str:
    from pypimirror.catalog import figures

    return figures.text(value)


TEXT: Form[str] = Form(str, str)
#: Seconds since the epoch.
TIME: Form[float] = Form(_time, repr)
NUMBER: Form[int] = Form(_one, str)
#: Two numbers.
PAIR: Form[tuple[int, int]] = Form(_two, _written)


class Replaced(NamedTuple):
    """How many files on pages a run has let go for files of other digests."""

    run: int  #: its id
    projects: int = 0
    files: int = 0


class ListRead(NamedTuple):
    """What a run has seen of the project list of an upstream."""

    run: int  #: its id
    selected: int  #: projects in it that are for this mirror
    without_page: int = 0  #: those of them that no upstream has a page of
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


TOTALS: Form[Totals] = Form(mirror_totals.parse, _written)
STATISTICS_FORM: Form[Statistics] = Form(_statistics, _statistics_text)


# Which directory the catalog is of

#: Which mirror this is: the same as in the file `identity` of the private directory.
MIRROR = Mark("mirror", TEXT)
#: Which generation the mirror root was of when this catalog saw it last; see `storage.generation`.
GENERATION = Mark("generation", TEXT)
#: Why catalog and mirror root may not be of one run, until every file was looked for.
DOUBT = Mark("in doubt", TEXT)

# What the configuration was, so that a change of it is noticed

#: Digest of the selection that was applied to the whole catalog last.
SELECTION = Mark("selection", TEXT)
#: `[verify] accept`, as what is held was last compared with it.
ACCEPT = Mark("accept", TEXT)
#: There, and empty, while what is deleted upstream stays (`[delete] keep`).
KEEP = Mark("keep", TEXT)
#: Identifies what of the configuration decided on the tries of files so far.
TERMS_OF_TRIES = Mark("terms of tries", TEXT)
#: Identifies what of the configuration decided on files that are refused.
TERMS_OF_REFUSALS = Mark("terms of refusals", TEXT)

# What upstreams have shown of themselves

#: When a share of its projects was last asked for though nothing said that they had changed.
RECHECK = UpstreamMark("recheck ", TIME)
#: There, and empty, where its project list was read once.
HAS_LIST = UpstreamMark("has a list: ", TEXT)
#: Of how many pages with changed files the serial has moved, and stood still.
SERIALS = UpstreamMark("serials ", PAIR)
#: How the pages of its project list bear it out, in the run that read it last.
LIST_READ = UpstreamMark("list read ", Form(_list_read, _list_read_text))
#: Files that changed upstream, and that the last run to let any go has let go.
REPLACED = Mark("replaced", Form(_replaced, _written))

# What is on disk

#: In which forms all pages were written.
FORMATS = Mark("formats", TEXT)
#: With which version of the renderer all pages were written, where it is one.
RENDERER = Mark("renderer", NUMBER)
#: With which version of the renderer the root index was written.
ROOT_RENDERER = Mark("root renderer", NUMBER)
#: Empty where the root index is whole, `STALE` where it must be written whole, as it must be where
#: there is no such mark. Of single projects, `projects.root_entry_stale` says it.
ROOT_INDEX = Mark("root index", TEXT)
STALE = "stale"
#: Stamp and digest of the root index when it was seen to be right.
ROOT_INDEX_SEEN = Mark("root index seen", TEXT)
#: What is on all pages.
HELD = Mark("held", TOTALS)
#: Figures for metrics that are not counted anew each time.
STATISTICS = Mark("statistics", STATISTICS_FORM)

#: Identifies what was found complete by `[select] check` last, and the pages of that time.
CHECKED = Mark("checked", TEXT)

# Time, and runs that find nothing to do

#: The latest time that a run found ahead of now; of several runs, the first to come.
AHEAD = Mark("time that was ahead", TIME)
#: What a run that found nothing to do says of the next one; see `queries.idle_snapshot`.
AT_REST = Mark("at rest", TEXT)
#: What a run that completed says of the mirror until the next one.
ENDED = Mark("ended under", TEXT)

_ALL = tuple(each for each in list(globals().values()) if isinstance(each, Mark | UpstreamMark))
#: Names of the marks, and how the names of those begin that each upstream has.
NAMES = frozenset(each.name for each in _ALL if isinstance(each, Mark))
PREFIXES = tuple(each.prefix for each in _ALL if isinstance(each, UpstreamMark))
_FORMS: dict[str, Form[Any]] = {each.name: each.form for each in _ALL if isinstance(each, Mark)}


def is_fit(name: str, value: str) -> bool:
    """Whether a mark has a value that this program may have written; one that is unknown has."""
    form = _FORMS.get(name) or next(
        (m.form for m in _ALL if isinstance(m, UpstreamMark) and name.startswith(m.prefix)), TEXT
    )
    try:
        form.parse(value)
    except (ValueError, RecursionError):
        return False
    return True
