"""What was found when the closure of the selection was computed, as a mark of the catalog keeps it.

For `status` and for the next run, which tells from it whether the configuration has changed. Knows
no SQL.
"""

from __future__ import annotations

import msgspec

#: How many of each are kept by name.
EXAMPLES = 50


class Unsure(msgspec.Struct, frozen=True):
    """Something that is needed, and why it is not known or not here."""

    project: str
    version: str  #: "" for the project as a whole
    why: str  #: the end of a sentence on it


class ClosureFigures(msgspec.Struct, frozen=True):
    """What a closure comes to."""

    key: str  #: identifies what of the configuration decided
    projects: int  #: that are mirrored only since others need them
    unknown: int = 0  #: releases of which nobody knows what they need
    missing: int = 0  #: projects that are needed, and not mirrored
    faults: int = 0  #: requirements that nobody can read
    unknown_ones: tuple[Unsure, ...] = ()  #: some of them
    missing_ones: tuple[Unsure, ...] = ()
    faulty_ones: tuple[Unsure, ...] = ()


#: Reads what `text` has written; raises `ValueError`.
parse = msgspec.json.Decoder(ClosureFigures).decode


def text(figures: ClosureFigures) -> str:
    """Write figures."""
    return msgspec.json.encode(figures).decode()
