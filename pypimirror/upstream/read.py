"""Read the answers of an index in any form.

This module detects the form of an answer, and calls the parser for it. The
parsers are in `pypimirror.upstream.json`, `.html` and `.listing`.
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

_VERSIONED = re.compile(r"application/vnd\.pypi\.simple\.(v[0-9]+|latest)\+(json|html)")
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9_.:-]{1,40})", re.I)
_SPACE = b" \t\r\n\f"


class Form(StrEnum):
    """The two forms of an index's answers."""

    JSON = "json"
    HTML = "html"


class Detected(NamedTuple):
    """The form of an answer, with warnings if it was hard to detect."""

    form: Form
    charset: str | None = None
    warnings: tuple[str, ...] = ()


def parse_page(body: bytes, *, content_type: str, url: str, project: str) -> ProjectPage:
    """Parse a project page in any form.

    `content_type` is the header of the answer, or "". `url` is the address of the page after
    redirects. `project` is the requested `ProjectName`. Raises `ReadError` if the page cannot be
    used. A file that cannot be used is a problem of the page.
    """
    detected = detect(content_type, body, url=url, project=project)
    if detected.form is Form.JSON:
        page = json.parse_page(body, url=url, project=project)
    else:
        # Imported here: most workers read no HTML.
        from pypimirror.upstream import html

        page = html.parse_page(body, url=url, project=project, charset=detected.charset)
    if detected.warnings:
        page = msgspec.structs.replace(page, warnings=detected.warnings + page.warnings)
    return page


def detect(content_type: str, body: bytes, *, url: str, project: str = "") -> Detected:
    """Return the form of an answer.

    The content type decides, unless it is missing, does not fit an index, or contradicts the first
    byte. Then the first byte decides, with a warning. Raises `ReadError`: with API_VERSION for the
    content type of another major version, with BAD_PAGE if the form cannot be detected.
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
    """Return the charset in a content type, or None."""
    return found[1] if (found := _CHARSET.search(content_type)) else None


def fallback(body: bytes) -> Form | None:
    """Return the form that the first byte of an answer shows, or None."""
    start = body[:4096].removeprefix(b"\xef\xbb\xbf").lstrip(_SPACE)[:1]
    return {b"{": Form.JSON, b"[": Form.JSON, b"<": Form.HTML}.get(start)
