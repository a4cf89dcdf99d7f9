"""Reading an index's answers, whatever form they have.

Lives here: what to ask for, which form an answer has, and the way to the reader of that form.
Does not live here: the forms themselves (`pypimirror.upstream.json`, `.html`, `.listing`).
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

import msgspec

from pypimirror.domain.filenames import printable
from pypimirror.domain.model import ProjectPage, Reason
from pypimirror.upstream import json
from pypimirror.upstream.checks import unusable

#: What to ask an index for: JSON where it has that, as only JSON tells sizes and times.
ACCEPT = (
    "application/vnd.pypi.simple.v1+json, "
    "application/vnd.pypi.simple.v1+html;q=0.2, "
    "text/html;q=0.01"
)

_VERSIONED = re.compile(r"application/vnd\.pypi\.simple\.(v[0-9]+|latest)\+(json|html)")
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9_.:-]{1,40})", re.I)
_SPACE = b" \t\r\n\f"


class Form(StrEnum):
    """The two forms of an index's answers."""

    JSON = "json"
    HTML = "html"


class Detected(NamedTuple):
    """The form of an answer, and what was odd about finding it out."""

    form: Form
    charset: str | None = None
    warnings: tuple[str, ...] = ()


def page_headers(etag: str | None, last_modified: str | None) -> dict[str, str]:
    """Return what to ask a page or a list with, conditionally where it was read before."""
    headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip, deflate"}
    if etag:
        headers["If-None-Match"] = etag
    if last_modified:
        headers["If-Modified-Since"] = last_modified
    return headers


def parse_page(body: bytes, *, content_type: str, url: str, project: str) -> ProjectPage:
    """Read a project page of either form.

    `content_type` is the header of the answer, "" where it had none; `url` is where the page was
    found, after redirects; `project` is the `ProjectName` that was asked for. Raises `ReadError`
    where the page cannot be used; a file that cannot be used is a problem of the page.
    """
    detected = detect(content_type, body, url=url, project=project)
    if detected.form is Form.JSON:
        page = json.parse_page(body, url=url, project=project)
    else:
        # Most workers never meet HTML.
        from pypimirror.upstream import html

        page = html.parse_page(body, url=url, project=project, charset=detected.charset)
    if detected.warnings:
        page = msgspec.structs.replace(page, warnings=detected.warnings + page.warnings)
    return page


def detect(content_type: str, body: bytes, *, url: str, project: str = "") -> Detected:
    """The form of an answer.

    The content type decides, unless it is missing, says nothing about an index, or is belied by
    the first byte: then that byte decides, with a warning. Raises `ReadError`: with API_VERSION
    for the content type of another major version, with BAD_PAGE where there is no telling.
    """
    media_type = content_type.partition(";")[0].strip().lower()
    charset = charset_of(content_type)
    if versioned := _VERSIONED.fullmatch(media_type):
        if versioned[1] not in ("v1", "latest"):
            message = f"it is {media_type}; this program reads v1. Look for a newer pypimirror"
            raise unusable(Reason.API_VERSION, message, url=url, project=project)
        stated: Form | None = Form(versioned[2])
    else:
        stated = {
            "application/json": Form.JSON,
            "text/html": Form.HTML,
            "application/xhtml+xml": Form.HTML,
        }.get(media_type)
    seen = fallback(body)
    if stated is not None and seen in (stated, None):
        return Detected(stated, charset)
    shown = printable(media_type, 80) or "missing"
    if seen is None:
        message = f"its content type is {shown}, and its content is neither JSON nor HTML"
        raise unusable(Reason.BAD_PAGE, message, url=url, project=project)
    warning = f"the content type is {shown}, but the content looks like {seen}"
    return Detected(seen, charset, (warning,))


def charset_of(content_type: str) -> str | None:
    """The charset that a content type names."""
    return found[1] if (found := _CHARSET.search(content_type)) else None


def fallback(body: bytes) -> Form | None:
    """The form that the first byte of an answer speaks for, None where it speaks for neither."""
    start = body[:4096].removeprefix(b"\xef\xbb\xbf").lstrip(_SPACE)[:1]
    return {b"{": Form.JSON, b"[": Form.JSON, b"<": Form.HTML}.get(start)
