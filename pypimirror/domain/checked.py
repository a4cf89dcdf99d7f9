"""Annotations for types of configuration keys: functions that parse or check a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Before(NamedTuple):
    """A function that parses a value into the type. It raises `ValueError`."""

    function: Callable[[Any], Any]


class After(NamedTuple):
    """A function that checks a value of the type and returns it. It raises `ValueError`."""

    function: Callable[..., Any]
    #: Whether the function also gets the earlier keys of the section.
    beside: bool = False
