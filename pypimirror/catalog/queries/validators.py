"""The validators of the upstreams' lists, read without SQLAlchemy, whose import takes long.

They only serve to ask early (`pypimirror.cli.early`). A run reads them again.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

#: Seconds to wait for a writer.
_PATIENCE = 0.1


def of_lists(file: Path) -> dict[str, tuple[str | None, str | None]]:
    """Return ETag and Last-Modified of each list in an SQLite catalog, by upstream.

    Returns nothing if the catalog cannot be read.
    """
    try:
        uri = f"{file.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=_PATIENCE)) as connection:
            rows = connection.execute("SELECT upstream, etag, last_modified FROM lists").fetchall()
    except sqlite3.Error:
        return {}
    return {str(name): (etag, last_modified) for name, etag, last_modified in rows}
