"""Parse foreign numbers, versions and specifiers within limits. No I/O.

Python's `int` raises `ValueError` for text of more than 4,300 digits, and `packaging` passes it on
although it documents other errors. Numbers that are added or summed later must also fit a column of
64 bits. So all foreign text goes through this module, and no other code gives it to `int` or
`packaging`: `tests/domain/test_bounded.py` checks all modules that read foreign text.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

#: The highest serial that is accepted. JSON and floats store it exactly, and our page serials can
#: count up from it practically for ever.
MAX_SERIAL = 2**53 - 1

#: The largest size of a file, in bytes, that is accepted. Sums of such sizes fit all columns.
MAX_SIZE = 2**43 - 1

#: Most digits of a whole number that Python reads from text.
MAX_DIGITS = 4300

#: Most characters of a version and of a specifier. The longest on PyPI have less than a tenth.
MAX_VERSION, MAX_SPECIFIER = 500, 2000

#: Most characters of a requirement with its marker. The longest on PyPI have 2,000.
MAX_REQUIREMENT = 8000

#: Most characters of a project name: it and its temporary twin must fit as names of directories.
MAX_NAME = 240

# Digits of a number below 2^63.
_MOST_DIGITS = 19


def natural(text: str | bytes | None, most: int = 2**63 - 1) -> int | None:
    """Return a number that is written in decimal digits only.

    None if it is not such a number, or greater than `most`.
    """
    if not text or not text.isascii() or not text.isdigit():
        return None
    digits = text.lstrip(b"0") if isinstance(text, bytes) else text.lstrip("0")
    if len(digits) > _MOST_DIGITS:
        return None
    number = int(digits or b"0")
    return number if number <= most else None


def check_json(document: bytes) -> None:
    """Raise `ValueError` or `RecursionError` if clients in Python cannot read a document.

    For documents that are passed on unchanged. A typed decoder skips unknown keys, so it does not
    notice numbers with too many digits, endless nesting or invalid UTF-8 there.
    """

    def check(digits: str) -> int:
        if (number := len(digits.lstrip("-"))) > MAX_DIGITS:
            raise ValueError(f"it has a number of {number} digits, and Python reads {MAX_DIGITS}")
        return 0

    json.loads(document.decode(), parse_int=check)


def serial(value: object) -> int | None:
    """Return a serial in any form that an upstream may use: a whole number, digits in text, 5.0.

    None for everything else, and for 0: an index that never counts cannot show changes.
    """
    if isinstance(value, str):
        value = natural(value)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= MAX_SERIAL:
        return value
    return None


def version(text: str) -> Version | None:
    """Return a version, or None if it is not valid."""
    if len(text) > MAX_VERSION:
        return None
    try:
        return Version(text)
    except InvalidVersion:
        return None


def specifiers(text: str) -> SpecifierSet | None:
    """Return a set of version specifiers, or None if it is not valid."""
    if len(text) > MAX_SPECIFIER:
        return None
    # Imported here: most users of this module need no specifiers.
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        return None


def requirement(text: str) -> Requirement:
    """Return a requirement. Raises `ValueError` with the reason if it is not valid."""
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
