"""Where a closure begins. Every selection imports this module; few compute a closure."""

from __future__ import annotations

from typing import NamedTuple


class Root(NamedTuple):
    """A project that the configuration names, with versions and extras."""

    project: str
    versions: str = ""  #: "" for every version
    extras: tuple[str, ...] = ()
