"""The parts of core metadata that search needs: the summary, and the names of required projects.

No I/O.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from packaging.utils import canonicalize_name

from pypimirror.domain.filenames import printable

#: Characters of a summary, and required names, that are kept.
_LONGEST, _MOST = 300, 500

#: All headers, and a header that is used. A line that is no header ends them. `email.parser` does
#: the same, and takes ten times as long; a test compares both.
_HEADERS = re.compile(r"(?:(?:From |[!-9;-~]*:|[ \t]).*(?:\n|\Z))*")
_FIELD = re.compile(r"^(summary|requires-dist):(.*(?:\n[ \t].*)*)", re.I | re.M | re.A)
_BREAK = re.compile(r"\r\n?")

_NAME = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]{0,200}[A-Za-z0-9])?)\s*(?:[^A-Za-z0-9._-]|$)")
_EXTRA = re.compile(r";.*\bextra\b", re.S)


class ProjectSummary(NamedTuple):
    """The summary of a project, and the projects that it requires."""

    text: str  #: one line; "": none
    requires: frozenset[str]  #: normalised names, without those that only extras require


def of(document: bytes) -> ProjectSummary:
    """Return both parts of core metadata. Lines that cannot be read are left out."""
    head = re.split(rb"\r?\n\r?\n", document, maxsplit=1)[0].decode(errors="replace")
    headers = _HEADERS.match(_BREAK.sub("\n", head))
    fields: dict[str, list[str]] = {"summary": [], "requires-dist": []}
    for name, value in _FIELD.findall(headers[0]) if headers else ():
        fields[name.lower()].append(value)
    text = " ".join("".join(fields["summary"][:1]).lstrip()[: 4 * _LONGEST].split())
    required = set()
    for value in fields["requires-dist"][:_MOST]:
        found = _NAME.match(value)
        if found and not _EXTRA.search(value):
            required.add(canonicalize_name(found[1]))
    return ProjectSummary(printable(text, _LONGEST), frozenset(required))
