"""Explain faults of the configuration: which key, where it is set, and what is valid.

No I/O, except that this module reads the names of environment variables.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence

from pypimirror.config.sources import PREFIX

#: Bits of the largest number that a database stores, without the sign.
_BITS = 63


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a clause with the known key that is nearest to an unknown one."""
    import difflib

    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(names)}"


def source_of(location: Sequence[str | int], file: str) -> str:
    """Return the source of a key's value: an environment variable, or the file.

    The variable with the longest name counts, because a variable may hold a whole section as JSON.
    """
    names = [str(part) for part in location]
    variables = {name.upper(): name for name in os.environ}
    for length in range(len(names), 0, -1):
        variable = variables.get(f"{PREFIX}{'__'.join(names[:length])}".upper())
        if variable is not None:
            return f"environment: {variable}"
    return file


def not_json(section: str) -> str:
    """Return the message about the variables of a section that are not valid JSON."""
    found = []
    for name, value in sorted(os.environ.items()):
        if f"{name.upper()}__".startswith(f"{PREFIX}{section}__".upper()):
            try:
                json.loads(value)
            except (ValueError, RecursionError):
                found.append(name)
    example = """must be JSON, such as '["six", "idna"]' for a list"""
    return f"environment: {' or '.join(found)}: {example}"


def bound(error: Exception) -> str:
    """Return the message about a value that exceeds a limit of Python."""
    if isinstance(error, RecursionError):
        return "lists or tables are nested too deeply; no key needs more than three levels"
    if "integer string conversion" in str(error):
        return "a whole number has too many digits; no key needs more than twenty"
    return str(error)


def unusable(values: object) -> str | None:
    """Return what is wrong with a value that TOML allows and nothing here can use, or None.

    These are texts and names with a NUL, which no path can contain, and whole numbers that no
    database can store. They would raise errors later that name no key.
    """
    waiting = [("", values)]
    while waiting:
        where, value = waiting.pop()
        if (isinstance(value, str) and "\0" in value) or "\0" in where:
            shown = where.replace("\0", "\\u0000")
            return f"{shown}: has a NUL (\\u0000), which no name, path or address can have"
        if isinstance(value, int) and value.bit_length() > _BITS:
            return f"{where}: is a larger number than any key can have"
        parts: Iterable[tuple[object, object]] = ()
        if isinstance(value, Mapping):
            parts = value.items()
        elif isinstance(value, list | tuple):
            parts = enumerate(value)
        waiting.extend((f"{where}.{name}" if where else str(name), part) for name, part in parts)
    return None
