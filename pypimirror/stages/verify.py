"""Verify: put what is proven in its place, with its core metadata.

fetched → verified. The proof is made where the bytes pass by: in the download worker, or by
hashing what an earlier run has left (`stages.download`). Bytes are durable before the catalog
says that they are verified.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from pypimirror.catalog import files, projects, runs
from pypimirror.catalog.states import State
from pypimirror.model import Problem, Reason, Stage
from pypimirror.stages.run import Run
from pypimirror.tree import METADATA_SUFFIX, file_path
from pypimirror.verify.wheels import read_metadata


def verify(run: Run, ids: Sequence[int]) -> None:
    """Put the proven files of these projects in their places."""
    with run.catalog.write() as connection:
        rows = files.in_states(connection, ids, [State.FETCHED])
        names = sorted({row.project for row in rows})
        runs.clear_failures(connection, run.id, Stage.VERIFY, names)
    rows = [row for row in rows if row.id in run.proven]
    run.reporter.begin(Stage.VERIFY, len(rows))
    if not rows:
        return
    problems: list[Problem] = []
    verified = [
        {"id": row.id, "metadata_sha256": _place(run, row, problems), "withdrawn_at": None}
        for row in rows
    ]
    run.tree.flush()
    with run.catalog.write() as connection:
        files.move(connection, State.VERIFIED, verified, run.id)
        projects.touch(connection, {row.project_id for row in rows})
    run.proven.difference_update(row.id for row in rows)
    run.count(files_verified=len(rows))
    run.failed(Stage.VERIFY, problems)
    run.reporter.advance(Stage.VERIFY, things=len(rows))


def _place(run: Run, row: Row[Any], problems: list[Problem]) -> bytes | None:
    """Move a file to its place; return the sha256 of the core metadata beside it, if any."""
    relative = file_path(row.project, row.filename, row.location)
    staged = run.tree.staged(row.id)
    source = staged if staged.exists() else run.tree.path(relative)
    digest = None
    if row.filename.endswith(".whl"):
        digest = _place_metadata(run, row, read_metadata(source), relative, problems)
    if source is staged:
        run.tree.place(staged, relative)
    return digest


def _place_metadata(
    run: Run, row: Row[Any], content: bytes | None, relative: str, problems: list[Problem]
) -> bytes | None:
    """Write a wheel's core metadata beside it, unless it is not what the upstream announced.

    It is read from the wheel itself: whoever announces other metadata than the wheel carries
    would have installers resolve something else than they install.
    """
    if content is None:
        return None
    digest = hashlib.sha256(content).digest()
    if row.metadata_claim and row.metadata_claim != digest:
        problems.append(
            Problem(
                Reason.METADATA_MISMATCH,
                f"{row.filename}: the upstream announces core metadata with sha256 "
                f"{row.metadata_claim.hex()}, and the wheel's own has {digest.hex()}; "
                "the wheel is served without",
                row.project,
                row.filename,
                row.url,
            )
        )
        return None
    fresh = run.tree.staging / f"{row.id}{METADATA_SUFFIX}"
    fresh.write_bytes(content)
    run.tree.place(fresh, relative + METADATA_SUFFIX)
    return digest
