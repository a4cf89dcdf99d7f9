"""Putting bytes aside that failed verification, with the claim and the observation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Row

from pypimirror.model import Problem, Reason
from pypimirror.stages.claims import claims_of
from pypimirror.stages.run import Run


def set_aside(
    run: Run,
    row: Row[Any],
    source: Path,
    observed: Mapping[str, str],
    size: int,
    problem: Problem | None = None,
) -> None:
    """Move the bytes of a file to quarantine; the last ones win."""
    claims = claims_of(row)
    report = {
        "project": row.project,
        "file": row.filename,
        "url": row.url,
        "run": run.name,
        "at": run.now,
        "reason": problem.reason.value if problem else Reason.DIGEST_MISMATCH.value,
        "message": problem.message if problem else "",
        "claimed": {"digests": claims.digests, "size": claims.size},
        "observed": {"digests": dict(observed), "size": size},
    }
    text = msgspec.json.format(msgspec.json.encode(report, order="sorted"))
    run.tree.set_aside(source, str(row.id), text)
