"""What is wrong in a configuration, in the words of its keys: where it stands, and what is right.

Pure, but that it looks at the names of variables in the environment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence

from pypimirror.config.sources import PREFIX

#: Of the largest number that a database holds, but for the sign.
_BITS = 63


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a clause on what an unknown key may have meant."""
    import difflib

    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(names)}"


def source_of(location: Sequence[str | int], file: str) -> str:
    """Return where the value of a key comes from: a variable of the environment, or the file.

    The longest name that is set counts: a variable may hold a whole section, as JSON.
    """
    names = [str(part) for part in location]
    variables = {name.upper(): name for name in os.environ}
    for length in range(len(names), 0, -1):
        variable = variables.get(f"{PREFIX}{'__'.join(names[:length])}".upper())
        if variable is not None:
            return f"environment: {variable}"
    return file


def not_json(section: str) -> str:
    """Return which variable of a section holds no JSON where only that can be meant."""
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
    """Return what is wrong with a value that is beyond a bound of Python's own."""
    if isinstance(error, RecursionError):
        return "lists or tables are nested too deeply; no key needs more than three levels"
    if "integer string conversion" in str(error):
        return "a whole number has too many digits; no key needs more than twenty"
    return str(error)


def unusable(values: object) -> str | None:
    """Return what is wrong with a value that TOML can have and nothing here can use, or None.

    That is a text or a name with a NUL, which no system has in a path, and a whole number that no
    database holds. Whatever is given one raises an error that names no key.
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
