"""Results of the last computation of the closure, as a mark of the catalog stores them.

They are for `status`, and for the next run, which sees from them whether the configuration has
changed. This module knows no SQL.
"""

from __future__ import annotations

import msgspec

#: Most examples of each kind that are stored.
EXAMPLES = 50


class Unsure(msgspec.Struct, frozen=True):
    """A needed project or release, and why it is unknown or not here."""

    project: str
    version: str  #: "" for the project as a whole
    why: str  #: the end of a sentence about it


class ClosureFigures(msgspec.Struct, frozen=True):
    """The results of computing a closure."""

    key: str  #: digest of the settings that decided
    projects: int  #: number of projects that are mirrored only as dependencies
    unknown: int = 0  #: number of releases with unknown requirements
    missing: int = 0  #: number of needed projects that are not mirrored
    faults: int = 0  #: number of requirements that cannot be read
    unknown_ones: tuple[Unsure, ...] = ()  #: some of them
    missing_ones: tuple[Unsure, ...] = ()
    faulty_ones: tuple[Unsure, ...] = ()


#: Decodes the output of `text`. Raises `ValueError`.
parse = msgspec.json.Decoder(ClosureFigures).decode


def text(figures: ClosureFigures) -> str:
    """Encode the results."""
    return msgspec.json.encode(figures).decode()
