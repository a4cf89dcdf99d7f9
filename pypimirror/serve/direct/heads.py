"""Heads of plain requests: GET or HEAD of HTTP/1.1, without a header that needs special treatment.

pywsgi reads all other heads, also each head that breaks a rule. Clients repeat their headers in
each request, so the headers are parsed once for many requests.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_END = b"\r\n\r\n"

#: A header without surprises. A value ends in no space.
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[!-~](?:[ \t!-~]*[!-~])?)?)[ \t]*")

#: A single strong ETag, as this server makes them.
_ETAG = re.compile(r'"[0-9a-f-]+"')

#: Headers that ask for something other than the whole file on the same connection.
_NOT_PLAIN = frozenset(
    {
        *("content-length", "transfer-encoding", "trailer", "expect", "upgrade", "http2-settings"),
        *("range", "if-range", "if-match", "if-modified-since", "if-unmodified-since"),
    }
)


class Fields(NamedTuple):
    """The values in the headers of a plain request."""

    accept: str  #: "" for none
    etag: str = ""  #: of `If-None-Match`, with its quotes; "" for none
    is_last: bool = False  #: the connection ends after the answer


class RequestHead(NamedTuple):
    """A plain request."""

    is_head: bool
    target: str  #: the path, as it was sent
    fields: Fields
    length: int  #: bytes of the request


def read_head(data: bytes) -> RequestHead | None:
    """Return the request that `data` begins with; None if it is not plain, or not complete."""
    end = data.find(_END)
    line, _, block = data[:end].partition(b"\r\n")
    if end == -1 or (fields := _fields(block)) is None:
        return None
    if line.startswith(b"GET /") and line.endswith(b" HTTP/1.1"):
        return RequestHead(False, line[4:-9].decode("latin-1"), fields, end + 4)
    if line.startswith(b"HEAD /") and line.endswith(b" HTTP/1.1"):
        return RequestHead(True, line[5:-9].decode("latin-1"), fields, end + 4)
    return None


@lru_cache(maxsize=256)
def _fields(block: bytes) -> Fields | None:
    found: dict[str, str] = {}
    for line in block.split(b"\r\n"):
        field = _FIELD.fullmatch(line)
        if field is None:
            return None
        name = field[1].decode().lower()
        if name in found or name in _NOT_PLAIN:
            return None
        found[name] = field[2].decode()
    connection = found.get("connection", "keep-alive").lower()
    if not found.get("host") or connection not in ("keep-alive", "close"):
        return None
    etag = found.get("if-none-match", "")
    if etag and not _ETAG.fullmatch(etag):
        return None
    return Fields(found.get("accept", ""), etag, connection == "close")
