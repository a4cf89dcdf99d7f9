"""Rules on core metadata: which fields are read, and which values pass. No I/O.

Source: https://packaging.python.org/en/latest/specifications/core-metadata/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

from pypimirror.domain.filenames import printable
from pypimirror.select.patterns import Pattern, pattern

#: The values of each field, as written.
Metadata = Mapping[str, Sequence[str]]

#: How many characters of a value, and how many values of a field, are read.
_LONGEST, _MOST = 1000, 1000

#: For a field in rules: the fields that are read, if they have other names.
_ALSO = {"license": ("license-expression", "license")}


def read(document: bytes, fields: Collection[str]) -> dict[str, list[str]]:
    """Return the values of some fields of a core metadata file."""
    from email.parser import HeaderParser  # few configurations read metadata

    head = re.split(rb"\r?\n\r?\n", document, maxsplit=1)[0].decode(errors="replace")
    headers = HeaderParser().parsestr(head)
    return {
        field: [
            value.strip()[:_LONGEST]
            for header in _ALSO.get(field, (field,))
            for value in headers.get_all(header, [])[:_MOST]
        ]
        for field in sorted(fields)
    }


#: Whether metadata passes, and what decided.
Fits = Callable[[Metadata | None], tuple[bool, str]]


def required(texts: Mapping[str, Sequence[str]], source: str) -> Fits:
    """Return a check that each field has a matching value. Raises `EntryError`."""
    wanted = _patterns(texts, source)

    def fits(metadata: Metadata | None) -> tuple[bool, str]:
        if metadata is None:
            return False, "no core metadata is known"
        for name, globs in wanted.items():
            values = metadata.get(name, ())
            if not any(glob.search(value) for glob in globs for value in values):
                return False, _fact(name, values)
        return True, "core metadata"

    return fits


def excluded(texts: Mapping[str, Sequence[str]], source: str) -> Fits:
    """Return a check that no value of the fields matches. Raises `EntryError`."""
    unwanted = _patterns(texts, source)

    def fits(metadata: Metadata | None) -> tuple[bool, str]:
        for name, globs in unwanted.items():
            values = (metadata or {}).get(name, ())
            found = [value for value in values if any(glob.search(value) for glob in globs)]
            if found:
                return False, _fact(name, found)
        return True, "core metadata"

    return fits


def _patterns(texts: Mapping[str, Sequence[str]], source: str) -> dict[str, list[Pattern]]:
    return {name: [pattern(text, source) for text in each] for name, each in texts.items()}


def _fact(name: str, values: Sequence[str]) -> str:
    return f"{name} is {printable('; '.join(values), 200) or 'nothing'}, by core metadata"
