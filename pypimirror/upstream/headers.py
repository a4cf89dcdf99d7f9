"""The headers of a request for a page or a list."""

from __future__ import annotations

#: The Accept header for an index. JSON is preferred, because only JSON has sizes and times.
ACCEPT = (
    "application/vnd.pypi.simple.v1+json, "
    "application/vnd.pypi.simple.v1+html;q=0.2, "
    "text/html;q=0.01"
)


def page_headers(etag: str | None, last_modified: str | None) -> dict[str, str]:
    """Return the request headers for a page or a list, conditional if it was read before."""
    headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip, deflate"}
    if etag:
        headers["If-None-Match"] = etag
    if last_modified:
        headers["If-Modified-Since"] = last_modified
    return headers
