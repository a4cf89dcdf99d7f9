"""What processes of this program spare themselves: collections of garbage, and a slow import."""

from __future__ import annotations

import gc
import sys

#: New objects before a collection of the youngest generation. The program makes rows and results by
#: the ten thousand, and they have no cycles: by default, the collector takes a tenth of all time.
_YOUNGEST = 50_000

#: The same during imports: modules consist of many objects, and none of them is garbage.
_IMPORTING = 200_000


def calm_collector() -> None:
    """Run the collector rarely during the start, which saves a tenth of that time."""
    gc.set_threshold(_IMPORTING, 20, 20)


def spare_collector() -> None:
    """Never run the collector again: the process ends, and all of its memory with it."""
    gc.freeze()
    gc.disable()


def relax_collector() -> None:
    """Run the collector less often, and never on the objects that exist now."""
    gc.freeze()
    gc.set_threshold(_YOUNGEST, 20, 20)


def import_msgspec() -> None:
    """Import msgspec without typing_extensions, which it can do without.

    It would use that for older versions of Python, if it is installed. With `inspect`, which that
    imports, it takes longer to import than msgspec itself, and nothing else in a sync needs both.
    """
    if "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # as if it were missing
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules["typing_extensions"]
