"""How far an upstream's serials and validators are believed: by what they do, not by being there.

An index may write any number where PyPI has the serial of a project's last change: one constant for
all (pulp), the project's own number that never moves, 0. And a cache may answer "not modified" for
ever. Either would hide all changes from a mirror that asks only for what is said to have changed.

The rules:

1. A serial belongs to one change, so several projects of a list cannot have the same one. Those
   that do have none: they are asked for in each run, as all are where there are no serials.
2. Where the files of pages change while their own serials stand still, more often than once in
   `_RARELY` changes, the upstream has no serials at all.
3. A list whose validators moved while nothing that it lists did says that something has changed and
   not what: all its projects are asked for, where they are not more than `FEW`. Larger indexes
   have servers and caches side by side, each with validators of its own.
4. A validator is believed for `LIST_TRUST` and `PAGE_TRUST` after the whole was read, or a share of
   that from half of it on: each resource its own and always the same, so that not all are due at
   once. A time in the future is not believed.
5. What contradicts something is asked for without conditions: a page of which the list has another
   serial, one of which files are refused or proved bad, and all that is to be decided on anew.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING

from pypimirror import __version__
from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import SERIALS, TERMS_OF_REFUSALS
from pypimirror.catalog.queries import doubts, marks
from pypimirror.catalog.records import ProjectRecord
from pypimirror.domain.model import ProjectName

if TYPE_CHECKING:
    from pypimirror.config.settings import Config
    from pypimirror.pipeline.run import Run

#: Seconds after which a list, or a page, is asked for as if it had never been read.
LIST_TRUST, PAGE_TRUST = 86_400.0, 7 * 86_400.0
#: Seconds after which a page of which something is refused is asked for again.
REFUSED_TRUST = 86_400.0

_RARELY = 20
#: Projects of the largest list that rule 3 is for.
FEW = 1000
#: Changes that are remembered of an upstream; beyond, the older half counts half.
_MEMORY = 1000


def is_over(read_at: float | None, now: float, trust: float, key: str) -> bool:
    """Whether what was read whole at a time must be read whole again; `key` names it."""
    return read_at is None or not read_at <= now < ends_at(read_at, trust, key)


def ends_at(read_at: float, trust: float, key: str) -> float:
    """Return until when a validator is believed of what was read whole at a time."""
    share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32
    return read_at + trust * (1 + share) / 2


# Serials


def believed(
    run: Run, upstream: str, serials: dict[ProjectName, int | None]
) -> dict[ProjectName, int | None]:
    """Return the serials of a list, None for those that are none by rules 1 and 2."""
    with run.catalog.read() as connection:
        moved, still = _movements(connection, upstream)
    if still * _RARELY > moved:
        text = (
            f"{upstream}: its serials stand still while its projects change, so all are asked for"
        )
        run.reporter.note("warning", text)
        return dict.fromkeys(serials)
    known = [serial for serial in serials.values() if serial is not None]
    if len(set(known)) == len(known):  # as on PyPI, where there are many
        return serials
    shared = {serial for serial, number in Counter(known).items() if number > 1}
    return {name: None if serial in shared else serial for name, serial in serials.items()}


def note(connection: Connection, upstream: str, moved: int, still: int) -> None:
    """Note of how many pages with changed files the serial has moved, and stood still."""
    if not moved and not still:
        return
    before = _movements(connection, upstream)
    moved, still = before[0] + moved, before[1] + still
    if moved + still > _MEMORY:
        moved, still = moved // 2, (still + 1) // 2
    marks.write(connection, SERIALS.of(upstream), (moved, still))


def _movements(connection: Connection, upstream: str) -> tuple[int, int]:
    return marks.read(connection, SERIALS.of(upstream)) or (0, 0)


# Pages


def is_contradicted(row: ProjectRecord, listed: int | None) -> bool:
    """Whether a list has another serial of a project than the page that was read last."""
    return listed is not None and listed != row.serial


def look_again(run: Run) -> None:
    """Mark the projects of which something is refused, and may not be any more.

    All of them where what decides has changed, so that no page needs to; else, in a whole sync,
    those whose pages were asked for long enough ago.
    """
    terms = _terms(run.config)
    with run.catalog.write() as connection:
        if marks.read(connection, TERMS_OF_REFUSALS) != terms:
            doubts.decide_again(connection)
            marks.write(connection, TERMS_OF_REFUSALS, terms)
        elif run.names is None:
            doubts.look_at_refused(connection, run.now - REFUSED_TRUST, run.now)


def _terms(config: Config) -> str:
    """Identify what decides on claims that contradict others, or what was mirrored."""
    believed = [upstream.name for upstream in config.upstream if upstream.authoritative]
    limits = f"{config.delete.max_share} {config.delete.max_count}"  # of what may be replaced
    told = f"{__version__} {config.verify.on_changed} {believed} {limits}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]
