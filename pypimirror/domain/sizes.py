"""Sizes and numbers in text form, such as "5 GiB" and "1 file"."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pypimirror.domain.checked import Before

_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(?:([kmgtpe]?)(i?)b?\s*)?", re.IGNORECASE)

#: The form of a size, as a clause for messages.
WORDS = 'must be a size, such as "5 GiB" or 1000000'


class ByteSize(int):
    """A number of bytes."""


def parse_size(value: object) -> ByteSize:
    """Parse "5 GiB", "1KB" and so on. Raises `ValueError`."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise ValueError(WORDS)
        return ByteSize(value)
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None or (match[3] and not match[2]):
        raise ValueError(WORDS)
    power = " kmgtpe".index((match[2] or " ").lower())
    return ByteSize(float(match[1]) * (1024 if match[3] else 1000) ** power)


Size = Annotated[ByteSize, Before(parse_size)]


def amount(size: float) -> str:
    """Return a number of bytes as text, such as `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def number_of(number: int, thing: str) -> str:
    """Return a number with its noun, such as "1 file" or "1,200 files"."""
    plural = f"{thing[:-1]}ies" if thing.endswith("ry") else f"{thing}s"
    return f"{number:,} {thing if number == 1 else plural}"


def percent(share: float) -> str:
    """Return a share as text, rounded down: only all is 100%."""
    return f"{math.floor(share * 1000) / 10:g}%"
