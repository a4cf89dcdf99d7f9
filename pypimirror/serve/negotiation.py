"""Choose the form of a page for a client: the simple API's rules on `Accept` and `?format=`.

Pure decisions, without requests and files. The rules:

1. If `?format=` names a content type, `Accept` does not count.
2. Else the acceptable type with the highest quality wins. The most specific range in `Accept` gives
   the quality of a type (RFC 9110, 12.5.1).
3. Among equals, a type that the client names wins over one that only a wildcard covers. Of two
   named types, JSON wins because it says more. Of two others, HTML wins because a person may be
   reading.
4. Without `Accept`, every type is acceptable. If no type is acceptable, the caller answers 406.
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

#: Types that a client may name, with the type of the answer; the preferred ones first.
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
    """Return the content type of the answer, or None if no acceptable one is on disk.

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
