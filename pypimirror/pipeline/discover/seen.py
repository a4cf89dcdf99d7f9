"""Discover, the part on what was seen before: whether a page is the one that was read last.

Which serial it stands for, and whether the next run must look again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pypimirror.catalog.database import Connection
from pypimirror.catalog.records import ProjectRecord
from pypimirror.download.protocol import PageResult
from pypimirror.pipeline.discover.alternates import Answer
from pypimirror.pipeline.discover.decisions.decide import Decision
from pypimirror.pipeline.discover.lists import listings, trust
from pypimirror.pipeline.run import Run


def identity(run: Run, row: ProjectRecord, position: int, result: PageResult) -> dict[str, Any]:
    """Return columns that tell this page of the upstream from others."""
    return {
        "etag": result.etag,
        "last_modified": result.last_modified,
        "page_digest": result.digest,
        "page_at": listings.found_at(run.config.upstream[position], row, result),
        "serial": _serial(run, row, result),
        "needs_fetch": _is_behind(run, row, result),
        "checked_at": run.now,
        "read_at": run.now,
    }


def is_unchanged(run: Run, row: ProjectRecord, position: int, result: PageResult) -> bool:
    """Whether a page is the one that was read last."""
    if result.not_modified:
        return True
    return (
        row.page_digest == result.digest
        # Equal pages of two upstreams are not the same page: their links lead elsewhere.
        and row.upstream == run.config.upstream[position].name
        and row.selection == run.selection.digest
        and row.removal_cause is None
    )


def unchanged_values(
    run: Run, row: ProjectRecord, position: int, result: PageResult
) -> dict[str, Any]:
    """Return columns of a project whose page is the one that was read last.

    Its own page must be rendered all the same where the serial has moved.
    """
    serial = _serial(run, row, result)
    dirty = row.page_stale or serial != row.serial
    look = _is_behind(run, row, result)
    return {
        "id": row.id,
        "page_at": listings.found_at(run.config.upstream[position], row, result),
        "needs_fetch": look,
        "serial": serial,
        "page_stale": dirty,
        "checked_at": run.now,
        "read_at": row.read_at if result.not_modified else run.now,
    }


def _is_behind(run: Run, row: ProjectRecord, result: PageResult) -> bool:
    """Whether the next run must look again, whatever the list says then.

    The page may be older than the list says; and no serial tells of the pages that it leads to.
    """
    if result.linked is not None:
        return True
    serial, listed = _serial(run, row, result), run.discovered.listed.get(row.name)
    return serial is not None and listed is not None and serial < listed


def _serial(run: Run, row: ProjectRecord, result: PageResult) -> int | None:
    """Which serial the page that was read stands for.

    The page's own says it best: it can be older or newer than the list.
    """
    if result.page is not None and result.page.serial is not None:
        return result.page.serial
    if result.serial is not None:
        return result.serial
    listed = run.discovered.listed.get(row.name)
    return row.serial if listed is None else listed


def note_serials(
    run: Run, connection: Connection, read: Sequence[Answer], decisions: Mapping[int, Decision]
) -> None:
    """Note whether serials moved with the files of pages (`pipeline.discover.lists.trust`)."""
    for position, upstream in enumerate(run.config.upstream):
        moved = still = 0
        for row, asked, result, place in read:
            decision = decisions.get(row.id)
            if asked != position or place or decision is None or row.page_digest is None:
                continue
            told = result.serial if result.page is None else result.page.serial or result.serial
            told = told or run.discovered.listed.get(row.name)
            if told is None or row.serial is None or not (decision.new or decision.gone):
                continue
            moved, still = moved + (told != row.serial), still + (told == row.serial)
        trust.note(connection, upstream.name, moved, still)
