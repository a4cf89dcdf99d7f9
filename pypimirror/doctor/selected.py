"""The selection that the next sync begins with, as the checks need it."""

from __future__ import annotations

import contextlib

from pypimirror.catalog import inspection
from pypimirror.catalog.database import CatalogError
from pypimirror.catalog.marks import RESOLVED
from pypimirror.catalog.queries import marks
from pypimirror.config.settings import Config
from pypimirror.select.selection import Selection


def selection(config: Config) -> Selection:
    """Return the selection with the last resolution, which any machine may have made.

    The check of the catalog says why a catalog cannot be read. Raises `ConfigError`.
    """
    texts = None
    if config.select.dependencies == "resolved":
        with (
            contextlib.suppress(CatalogError, marks.BadMarkError),
            inspection.reading(config.catalog_url) as connection,
        ):
            texts = marks.read(connection, RESOLVED)
    return Selection(config, texts)
