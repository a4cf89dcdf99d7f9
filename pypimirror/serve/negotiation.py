"""Which form of a page a client gets: the simple API's rules on `Accept` and `?format=`.

Pure decisions; no request, no file. The rules:

1. `?format=` names one content type, and then `Accept` does not count.
2. Else the acceptable type with the highest quality wins; the most specific range of the client
   says the quality of a type (RFC 9110, 12.5.1).
3. Among equals, a type that the client names goes before one that only a wildcard covers: JSON
   first when named, since it says more; HTML first when not, since somebody may be looking.
4. No `Accept` means anything. Nothing acceptable means no answer: the caller sends 406.
5. Only forms that are on disk are offered.
"""

from __future__ import annotations

from functools import lru_cache

from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

JSON = "application/vnd.pypi.simple.v1+json"
HTML = "application/vnd.pypi.simple.v1+html"
TEXT_HTML = "text/html"

#: The file that holds a form of a page, by content type.
PAGE_FILES = {JSON: "index.v1_json", HTML: "index.html", TEXT_HTML: "index.html"}

#: What may be asked for, and the type that answers it; in order of preference when named.
_ANSWERS = {
    JSON: JSON,
    "application/vnd.pypi.simple.latest+json": JSON,
    HTML: HTML,
    "application/vnd.pypi.simple.latest+html": HTML,
    TEXT_HTML: TEXT_HTML,
}
_WHEN_NOT_NAMED = (TEXT_HTML, JSON, HTML)


@lru_cache(maxsize=512)  # a handful of clients send a handful of headers
def negotiate(accept: str, wanted: str | None, present: frozenset[str]) -> str | None:
    """The content type to answer with, or None if no acceptable one is there.

    `accept` is the header ("" for none), `wanted` the value of `?format=`, `present` the names of
    the page files on disk.
    """
    offered = {ask: answer for ask, answer in _ANSWERS.items() if PAGE_FILES[answer] in present}
    if wanted is not None:
        return offered.get(wanted)
    ranges = parse_accept_header(accept or "*/*", MIMEAccept)
    qualities = {ask: ranges.quality(ask) for ask in offered}
    best = max(qualities.values(), default=0)
    if best <= 0:
        return None
    equals = [ask for ask, quality in qualities.items() if quality == best]
    named = {item.lower() for item in ranges.values()}
    for ask in equals:
        if ask in named:
            return offered[ask]
    return next(ask for ask in (*_WHEN_NOT_NAMED, *equals) if ask in equals)
