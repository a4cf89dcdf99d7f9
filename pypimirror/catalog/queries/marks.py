"""Marks that are more than a text, read as what they mean."""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import TypeVar

from sqlalchemy import Connection

from pypimirror.catalog.queries.projects import get_mark
from pypimirror.domain.bounded import natural

T = TypeVar("T")


class BadMarkError(ValueError):
    """A mark has a value that this program does not write."""


def read(connection: Connection, name: str, parse: Callable[[str], T]) -> T | None:
    """Return what `parse` makes of a mark's value; None where there is no such mark.

    Raises `BadMarkError` where `parse` raises `ValueError`.
    """
    text = get_mark(connection, name)
    if text is None:
        return None
    try:
        return parse(text)
    except (ValueError, TypeError, AttributeError) as error:  # it may be no text either
        raise BadMarkError(f"value of row {name!r} of table marks is {text!r:.60}") from error


def time(text: str) -> float:
    """Read a time in seconds. Raises `ValueError`."""
    seconds = float(text)
    if not isfinite(seconds):
        raise ValueError("it is no time")
    return seconds


def counts(text: str) -> list[int]:
    """Read numbers of things, with a space between them. Raises `ValueError`."""
    found = [natural(part) for part in text.split()]
    numbers = [number for number in found if number is not None]
    if len(numbers) < len(found):
        raise ValueError("it has something else than numbers")
    return numbers
