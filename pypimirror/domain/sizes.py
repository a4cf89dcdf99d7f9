"""Sizes as people write them, such as "5 GiB"."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, ByteSize

_SIZE = re.compile(r"\s*[0-9]+(?:\.[0-9]+)?\s*(?:[A-Za-z]+\s*)?")

#: What a size has to be, in a clause.
WORDS = 'must be a size, such as "5 GiB" or 1000000'


def _whole(value: object) -> object:
    """Refuse text that does not end with its unit: pydantic would take "1,5 GiB" for one byte."""
    if isinstance(value, str) and not _SIZE.fullmatch(value):
        raise ValueError(WORDS)
    return value


Size = Annotated[ByteSize, BeforeValidator(_whole)]
