"""What a sync needs to begin early, read by nothing but the driver.

The rest of the catalog takes 0.007 s to import, and meanwhile the upstream can already answer.

These are the validators of the upstreams' lists, and whether clients have asked for anything
(`pypimirror.cli.early_sync`). A run reads them again.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

#: Seconds to wait for a writer.
_PATIENCE = 0.1


def of_lists(file: Path) -> dict[str, tuple[str | None, str | None]]:
    """Return ETag and Last-Modified of each list in an SQLite catalog, by upstream.

    Returns nothing if the catalog cannot be read.
    """
    rows = _rows(file, "SELECT upstream, etag, last_modified FROM lists")
    return {str(name): (etag, last_modified) for name, etag, last_modified in rows}


def is_anything_asked(file: Path) -> bool:
    """Whether an SQLite catalog has files that clients have asked for.

    Returns False if the catalog cannot be read.
    """
    return bool(_rows(file, "SELECT 1 FROM asked LIMIT 1"))


def _rows(file: Path, query: str) -> list[Any]:
    try:
        uri = f"{file.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_PATIENCE)) as connection:
            return connection.execute(query).fetchall()
    except sqlite3.Error:
        return []
