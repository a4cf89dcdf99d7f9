"""The tables of `pypimirror.catalog.schema`, which is imported when one of them is first used.

A statement whose text is known needs no tables (`mapping.prepared`), and they need SQLAlchemy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pypimirror.catalog.mapping import sql

if TYPE_CHECKING:
    from pypimirror.catalog.schema import *  # noqa: F403
else:

    def __getattr__(name: str) -> Any:
        if name.startswith("__"):  # the import system asks for such names
            raise AttributeError(name)
        sql.load()
        from pypimirror.catalog import schema

        value = globals()[name] = getattr(schema, name)
        return value
