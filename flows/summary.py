"""The table that a flow run leaves in Prefect: its counts and its failures."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import httpx
from prefect.artifacts import create_table_artifact
from prefect.exceptions import PrefectException
from prefect.logging.loggers import get_logger
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from pypimirror.catalog.queries import runs
from pypimirror.pipeline.summary import Summary

#: Most failures in the table. The catalog has all of them.
ROWS = 200

#: Most characters of a message in the table.
_LENGTH = 500


def show(summary: Summary, command: str, directory: Path) -> None:
    """Create the table in the flow run of this context. Its key is the same for all runs of a
    mirror.
    """
    if summary.state == runs.CANCELLED:  # somebody waits for its end
        return
    try:
        # If the API is away, retry only once here: the final state of the flow run matters more.
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 1}):
            create_table_artifact(
                rows(summary), key=key(command, directory), description=description(summary)
            )
    except (httpx.HTTPError, PrefectException) as error:
        get_logger("pypimirror").warning("The flow run has no table: %s", error)


def key(command: str, directory: Path) -> str:
    """Return the key of the table. Prefect allows lower-case letters, digits and dashes."""
    name = re.sub(r"[^a-z0-9]+", "-", directory.name.lower()).strip("-")
    digest = hashlib.sha256(str(directory).encode()).hexdigest()[:8]
    return "-".join(part for part in ("pypimirror", command, name[:40], digest) if part)


def rows(summary: Summary) -> list[dict[str, Any]]:
    """Return one row for each failure."""
    failed = zip(summary.stages[:ROWS], summary.failures[:ROWS], strict=True)
    return [
        {
            "stage": stage,
            "project": problem.project,
            "file": problem.file,
            "reason": problem.reason.value,
            "message": problem.message[:_LENGTH],
            "attempts": problem.attempts,
        }
        for stage, problem in failed
    ]


def description(summary: Summary) -> str:
    """Return a Markdown summary of the run. It contains no text of an upstream."""
    lines = [
        f"Run `{summary.run}`: **{summary.state}** after {summary.seconds:.0f} s.",
        "",
        "| count | number |",
        "| --- | ---: |",
        *(f"| {name.replace('_', ' ')} | {number:,} |" for name, number in summary.counts.items()),
    ]
    if len(summary.failures) > ROWS:
        more = f"The table has the first {ROWS:,} of {len(summary.failures):,} failures."
        lines += ["", f"{more} `pypimirror runs show {summary.run}` has all of them."]
    return "\n".join(lines)
