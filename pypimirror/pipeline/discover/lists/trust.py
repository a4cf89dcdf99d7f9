"""How far the mirror trusts an upstream's serials and validators: it observes how they behave.

On PyPI, a project's serial is the number of its last change. Another index may write any number
there: one constant for all projects (pulp), a number that never changes, or 0. And a cache may
answer "not modified" for ever. Either would hide every change from a mirror that fetches only what
is reported as changed.

The rules:

1. A serial belongs to one change, so several projects in a list cannot share one. Projects that
   share a serial count as having none: every run fetches their pages, as it does for all projects
   of a list without serials.
2. Some pages change while their serials do not. If these are more than one in `_RARELY` changes,
   the upstream counts as having no serials.
3. If the validators of a list change but nothing in it does, something has changed and the list
   does not say what. Then all its projects are fetched, if they are at most `FEW`. Larger indexes
   have several servers and caches, each with its own validators.
4. A validator is trusted for `LIST_TRUST` or `PAGE_TRUST` after a full read, or for a share of that
   between a half and all of it. The share is fixed for each resource, so that they do not all
   expire at the same time. A time in the future is not trusted.
5. If something contradicts a page, it is fetched without conditions: if the list has another serial
   for it, if files of it were refused or proven bad, or if it must be decided again.
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

#: Seconds after which a list, or a page, is fetched without conditions.
LIST_TRUST, PAGE_TRUST = 86_400.0, 7 * 86_400.0
#: Seconds after which a page with a refused file is fetched again.
REFUSED_TRUST = 86_400.0

_RARELY = 20
#: Most projects of a list to which rule 3 applies.
FEW = 1000
#: Most changes that are remembered for an upstream. When there are more, both counts are halved.
_MEMORY = 1000


def is_over(read_at: float | None, now: float, trust: float, key: str) -> bool:
    """Whether something must be read in full again, by the time of its last full read.

    `key` names the list or page.
    """
    if read_at is None:
        return True
    share = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") / 2**32
    return not read_at <= now < read_at + trust * (1 + share) / 2


# Serials


def believed(
    run: Run, upstream: str, serials: dict[ProjectName, int | None]
) -> dict[ProjectName, int | None]:
    """Return the serials of a list, with None for those that rules 1 and 2 reject."""
    with run.catalog.read() as connection:
        moved, still = _movements(connection, upstream)
    if still * _RARELY > moved:
        text = (
            f"{upstream}: its serials do not change when its projects do, so all pages are fetched"
        )
        run.reporter.note("warning", text)
        return dict.fromkeys(serials)
    known = [serial for serial in serials.values() if serial is not None]
    if len(set(known)) == len(known):  # the case of PyPI, and fast
        return serials
    shared = {serial for serial, number in Counter(known).items() if number > 1}
    return {name: None if serial in shared else serial for name, serial in serials.items()}


def note(connection: Connection, upstream: str, moved: int, still: int) -> None:
    """Add the numbers of changed pages whose serial has `moved` or stood `still`."""
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


def is_contradicted(row: ProjectRecord) -> bool:
    """Whether the list has another serial for a project than the page that was read last."""
    return row.listed_serial is not None and row.listed_serial != row.serial


def look_again(run: Run) -> None:
    """Mark the projects with refused files whose refusal may be out of date.

    If the settings or the version that decide have changed, these are all of them. Otherwise a sync
    of the whole mirror marks those whose pages were last fetched long enough ago.
    """
    terms = _terms(run.config)
    with run.catalog.write() as connection:
        if marks.read(connection, TERMS_OF_REFUSALS) != terms:
            doubts.decide_again(connection)
            marks.write(connection, TERMS_OF_REFUSALS, terms)
        elif run.names is None:
            doubts.look_at_refused(connection, run.now - REFUSED_TRUST, run.now)


def _terms(config: Config) -> str:
    """Return a digest of all settings that decide about contradicting claims."""
    believed = [upstream.name for upstream in config.upstream if upstream.authoritative]
    limits = f"{config.delete.max_share} {config.delete.max_count}"  # of what may be replaced
    text = f"{__version__} {config.verify.on_changed} {believed} {limits}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]
