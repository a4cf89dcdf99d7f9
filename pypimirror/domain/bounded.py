"""Numbers, versions and specifiers in what others wrote: parsed within bounds, or not at all.

Python's `int` raises `ValueError` for text of more than 4,300 digits, which `packaging` passes on
though it documents other errors; and whatever is added to or summed later must still fit a column
of 64 bits. So foreign text goes through here, and nothing else gives it to `int` or `packaging`:
`tests/domain/test_bounded.py` holds all modules that read what others wrote against this. Pure.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

#: The highest serial that is believed: a number that JSON, and each float, holds exactly, and to
#: which one can be added for each change of a page without an end.
MAX_SERIAL = 2**53 - 1

#: Bytes of the largest file that an index can mean. Sums of such sizes fit all columns.
MAX_SIZE = 2**43 - 1

#: Digits of the longest whole number that Python reads from text.
MAX_DIGITS = 4300

#: Characters of the longest version and specifier; the longest on PyPI have less than a tenth.
MAX_VERSION, MAX_SPECIFIER = 500, 2000

#: Characters of the longest requirement, its marker included; the longest on PyPI have 2,000.
MAX_REQUIREMENT = 8000

#: Characters of the longest project name that fits as a directory beside its temporary twin.
MAX_NAME = 240

# Digits of a number below 2^63.
_MOST_DIGITS = 19


def natural(text: str | bytes | None, most: int = 2**63 - 1) -> int | None:
    """Return a number that is written in decimal digits and nothing else.

    None where it is none, or more than `most`.
    """
    if not text or not text.isascii() or not text.isdigit():
        return None
    digits = text.lstrip(b"0") if isinstance(text, bytes) else text.lstrip("0")
    if len(digits) > _MOST_DIGITS:
        return None
    number = int(digits or b"0")
    return number if number <= most else None


def check_json(document: bytes) -> None:
    """Raise `ValueError` or `RecursionError` on a document that clients in Python cannot read.

    For documents that are passed on as they are. A decoder with types passes over what it does not
    know, and so over numbers of too many digits, nesting without end and text that is no UTF-8.
    """

    def check(digits: str) -> int:
        if (number := len(digits.lstrip("-"))) > MAX_DIGITS:
            raise ValueError(f"it has a number of {number} digits, and Python reads {MAX_DIGITS}")
        return 0

    json.loads(document.decode(), parse_int=check)


def serial(value: object) -> int | None:
    """Return a change number as an upstream states it: a whole number, digits in text, 5.0.

    None for all else, and for 0: where nothing was counted yet, nothing tells of changes.
    """
    if isinstance(value, str):
        value = natural(value)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_SERIAL:
        return value
    return None


def version(text: str) -> Version | None:
    """Return a version, None where it is none."""
    if len(text) > MAX_VERSION:
        return None
    try:
        return Version(text)
    except InvalidVersion:
        return None


def specifiers(text: str) -> SpecifierSet | None:
    """Return a set of version specifiers, None where it is none."""
    if len(text) > MAX_SPECIFIER:
        return None
    # Here: most who read numbers need no specifiers.
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        return None


def requirement(text: str) -> Requirement:
    """Return a requirement; raises `ValueError` that says why it is none."""
    if len(text) > MAX_REQUIREMENT:
        raise ValueError(f"it has more than {MAX_REQUIREMENT} characters")
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        found = Requirement(text)
    except InvalidRequirement as error:
        raise ValueError(str(error).splitlines()[0]) from error
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if len(found.name) > MAX_NAME or len(str(found.specifier)) > MAX_SPECIFIER:
        raise ValueError("its name or its versions are too long")
    return found
