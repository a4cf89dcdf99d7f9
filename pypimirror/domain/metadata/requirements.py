"""The requirements of one file as a value. `dependencies` reads them, and is slower to import."""

from __future__ import annotations

import msgspec


class Requirements(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """The requirements of one file."""

    requires: tuple[str, ...] = ()  #: each in normal form
    python: str = ""  #: versions of Python; "": any
    build: tuple[str, ...] = ()  #: its build requirements
    faults: tuple[str, ...] = ()  #: lines that cannot be read, and why
    #: Why its requirements are unknown, as the end of a sentence about the file; "": known.
    unknown: str = ""
