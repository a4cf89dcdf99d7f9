"""The headers of served objects: content types, and how long caches may keep them. No I/O.

`serve` sends them with each answer, and object storage keeps them with each object.
"""

from __future__ import annotations

from pypimirror.domain.formats import format_of
from pypimirror.domain.layout import METADATA_SUFFIX, PROVENANCE_SUFFIX

#: A synced release must be seen at once.
PAGE_CACHE = "public, max-age=0, must-revalidate"
#: A file never changes under its name.
FILE_CACHE = "public, max-age=31536000, immutable"

_SIDECARS = {
    METADATA_SUFFIX: "text/plain; charset=utf-8",
    PROVENANCE_SUFFIX: "application/vnd.pypi.integrity.v1+json",
}
_PAGES = {
    "index.html": "text/html; charset=utf-8",
    "index.v1_json": "application/vnd.pypi.simple.v1+json",
    "json": "application/json",
}


def file_type(name: str) -> str:
    """Return the content type of a file.

    Compressed archives have their own type and never a Content-Encoding: with one, clients would
    unpack them, and the digest would not match.
    """
    form = format_of(name)
    if form is not None:
        return form.media_type
    end = name[max(name.rfind("."), 0) :].lower()
    return _SIDECARS.get(end, "application/octet-stream")


def of_path(path: str) -> tuple[str, str]:
    """Return the content type and the Cache-Control of an object below the mirror root."""
    name = path.rpartition("/")[2]
    if path.startswith("packages/"):
        return file_type(name), FILE_CACHE
    return _PAGES.get(name, "application/octet-stream"), PAGE_CACHE
