"""The messages between the web server and the process that makes pages; the paths of pages. No I/O.

The server writes one line of JSON, `PageRequest`. The child answers with one line, `PageResponse`,
and then `PageResponse.length` bytes: the body, compressed by gzip.
"""

from __future__ import annotations

import msgspec

#: The first segments of the paths of pages. `/` is one, too.
FIRST = frozenset(
    {
        *(
            "project",
            "projects",
            "search",
            "search.json",
            "feed",
            "status",
            "status.json",
            "static",
        ),
        *("favicon.ico", "robots.txt"),
    }
)

#: Most characters of a path and of a query. Pages need far fewer.
LONGEST = 500


class PageRequest(msgspec.Struct, frozen=True):
    """A request for a page."""

    path: str
    query: str
    root: str  #: the address of the mirror as the client sees it; ends in a slash
    is_local: bool  #: whether the client is on this machine


class PageResponse(msgspec.Struct, frozen=True):
    """An answer, without its body."""

    status: int
    content_type: str
    length: int = 0  #: bytes of the compressed body
    location: str = ""  #: of a redirect, relative
    is_lasting: bool = False  #: whether the body never changes at this address


encode = msgspec.json.Encoder().encode
read_asked = msgspec.json.Decoder(PageRequest).decode
read_answer = msgspec.json.Decoder(PageResponse).decode
