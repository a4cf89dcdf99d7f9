"""Where a closure begins. Apart, since each selection can tell it, and few compute one."""

from __future__ import annotations

from typing import NamedTuple


class Root(NamedTuple):
    """What the configuration itself asks for."""

    project: str
    versions: str = ""  #: "" for every version
    extras: tuple[str, ...] = ()
