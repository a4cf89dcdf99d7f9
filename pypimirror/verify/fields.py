"""The fields of METADATA and WHEEL, as installers read them.

Both have the form of e-mail headers, and pip, uv and installer read them so: the first line that is
not a header ends them, and the rest does not count. So a byte order mark, an empty line or anything
else in front hides all fields from installers, and must hide them here as well. A test compares
this module with `email.parser`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# A header, or its continuation. Names are ASCII without spaces; `From ` may come first.
_HEADER = re.compile(rb"(?:([!-9;-~]*):|[ \t])([^\r\n]*)(?:\r\n|\r|\n|\Z)")
_MAILBOX = re.compile(rb"From [^\r\n]*(?:\r\n|\r|\n|\Z)")


def fields(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield names, in lower case, and the first lines of the values, lazily."""
    start = _MAILBOX.match(content)
    at = start.end() if start else 0
    while (found := _HEADER.match(content, at)) and found.end() > at:
        at = found.end()
        if found[1] is not None:
            yield found[1].lower(), found[2].strip(b" \t")
