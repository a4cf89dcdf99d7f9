"""SQLAlchemy, which is imported when one of its names is first used: `sql.select`, `sql.func`.

It takes half of the time of a run that finds nothing to do, and a statement whose text is known
needs none of it (`mapping.prepared`).
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any


def load() -> ModuleType:
    """Import SQLAlchemy, or leave no part of it behind.

    If a signal or a lack of memory ends this import, Python keeps the parts that are ready. With
    them, the next import succeeds, but of a package that lacks names.
    """
    try:
        import sqlalchemy
    except BaseException:
        for name in [each for each in sys.modules if each.partition(".")[0] == "sqlalchemy"]:
            del sys.modules[name]
        raise
    return sqlalchemy


if TYPE_CHECKING:
    from sqlalchemy import *  # noqa: F403
    from sqlalchemy import exc as exc
else:

    def __getattr__(name: str) -> Any:
        if name.startswith("__"):  # the import system asks for such names
            raise AttributeError(name)
        value = globals()[name] = getattr(load(), name)
        return value
