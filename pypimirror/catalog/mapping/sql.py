"""SQLAlchemy, which is imported when one of its names is first used: `sql.select`, `sql.func`.

It takes half of the time of a run that finds nothing to do, and a statement whose text is known
needs none of it (`mapping.prepared`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sqlalchemy import *  # noqa: F403
    from sqlalchemy import exc as exc
else:

    def __getattr__(name: str) -> Any:
        if name.startswith("__"):  # the import system asks for such names
            raise AttributeError(name)
        import sqlalchemy

        value = globals()[name] = getattr(sqlalchemy, name)
        return value
