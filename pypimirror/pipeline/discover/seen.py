"""Discover: whether a page is the one that was read last, its serial, and whether to fetch it
again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries import listed
from pypimirror.catalog.records import ProjectRecord
from pypimirror.download.protocol import PageResult
from pypimirror.pipeline.discover.alternates import PageAnswer
from pypimirror.pipeline.discover.decisions.decide import Decision
from pypimirror.pipeline.discover.lists import listings, trust
from pypimirror.pipeline.run import Run


def identity(run: Run, row: ProjectRecord, position: int, result: PageResult) -> dict[str, Any]:
    """Return the columns that identify this version of the upstream's page."""
    return {
        "etag": result.etag,
        "last_modified": result.last_modified,
        "page_digest": result.digest,
        "page_at": listings.found_at(run.config.upstream[position], row, result),
        "serial": _serial(row, result),
        "needs_fetch": _is_behind(row, result),
        "checked_at": run.now,
        "read_at": run.now,
        **listed.UNLISTED,
    }


def is_unchanged(run: Run, row: ProjectRecord, position: int, result: PageResult) -> bool:
    """Whether a page is the one that was read last."""
    if result.not_modified:
        return True
    return (
        row.page_digest == result.digest
        # Equal pages of two upstreams are different pages: relative links differ.
        and row.upstream == run.config.upstream[position].name
        and row.selection == run.selection.digest
        and row.removal_cause is None
    )


def unchanged_values(
    run: Run, row: ProjectRecord, position: int, result: PageResult
) -> dict[str, Any]:
    """Return the new columns of a project whose page has not changed.

    If the serial has changed, our page must be rendered again.
    """
    serial = _serial(row, result)
    page_stale = row.page_stale or serial != row.serial
    needs_fetch = _is_behind(row, result)
    return {
        "id": row.id,
        "page_at": listings.found_at(run.config.upstream[position], row, result),
        "needs_fetch": needs_fetch,
        "serial": serial,
        "page_stale": page_stale,
        "checked_at": run.now,
        "read_at": row.read_at if result.not_modified else run.now,
        **listed.UNLISTED,
    }


def _is_behind(row: ProjectRecord, result: PageResult) -> bool:
    """Whether the next run must fetch the page again, whatever the list says.

    This is so if the page is older than the list says, or if it links to pages that have no serial.
    """
    if result.linked is not None:
        return True
    serial, stated = _serial(row, result), row.listed_serial
    return serial is not None and stated is not None and serial < stated


def _serial(row: ProjectRecord, result: PageResult) -> int | None:
    """Return the serial of the page that was read.

    The page's own serial is best: the page may be older or newer than the list.
    """
    if result.page is not None and result.page.serial is not None:
        return result.page.serial
    if result.serial is not None:
        return result.serial
    return row.serial if row.listed_serial is None else row.listed_serial


def note_serials(
    run: Run, connection: Connection, read: Sequence[PageAnswer], decisions: Mapping[int, Decision]
) -> None:
    """Count whether serials changed together with the files of pages; see
    `discover.lists.trust`.
    """
    for position, upstream in enumerate(run.config.upstream):
        moved = still = 0
        for row, asked, result, place in read:
            decision = decisions.get(row.id)
            if asked != position or place or decision is None or row.page_digest is None:
                continue
            serial = result.serial if result.page is None else result.page.serial or result.serial
            serial = serial or row.listed_serial
            if serial is None or row.serial is None or not (decision.new or decision.gone):
                continue
            moved, still = moved + (serial != row.serial), still + (serial == row.serial)
        trust.note(connection, upstream.name, moved, still)
