"""Marks for types of configuration keys: what reads a value, and what checks it afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Before(NamedTuple):
    """A function that makes the type out of what was written; raises `ValueError`."""

    function: Callable[[Any], Any]


class After(NamedTuple):
    """A function that checks a value of the type and returns it; raises `ValueError`."""

    function: Callable[..., Any]
    #: Whether the function also gets the keys of the section that stand before this one.
    beside: bool = False
