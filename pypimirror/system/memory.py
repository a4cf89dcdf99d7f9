"""How often the garbage collector runs, in processes of this program."""

from __future__ import annotations

import gc

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
