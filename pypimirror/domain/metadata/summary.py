"""What search and pages need of core metadata: the summary, and the names of what is required.

No I/O.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from packaging.utils import canonicalize_name

from pypimirror.domain.filenames import printable

#: Characters of a summary, and required names, that are kept.
_LONGEST, _MOST = 300, 500

_NAME = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]{0,200}[A-Za-z0-9])?)\s*(?:[^A-Za-z0-9._-]|$)")
_EXTRA = re.compile(r";.*\bextra\b", re.S)


class Summary(NamedTuple):
    """What a project says of itself in short."""

    text: str  #: one line; "": none
    requires: frozenset[str]  #: normalised names, without what only extras require


def of(document: bytes) -> Summary:
    """Return what core metadata says. Lines that cannot be read are left out."""
    from email.parser import HeaderParser  # slow to import

    head = re.split(rb"\r?\n\r?\n", document, maxsplit=1)[0].decode(errors="replace")
    headers = HeaderParser().parsestr(head)
    text = " ".join(str(headers.get("Summary", ""))[: 4 * _LONGEST].split())
    required = set()
    for value in headers.get_all("Requires-Dist", [])[:_MOST]:
        found = _NAME.match(str(value))
        if found and not _EXTRA.search(str(value)):
            required.add(canonicalize_name(found[1]))
    return Summary(printable(text, _LONGEST), frozenset(required))
