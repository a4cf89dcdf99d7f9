"""Find the reason in an answer that refuses something, as one line. Pure.

A policy firewall in front of an index writes its reason into the body as JSON, HTML or plain text,
or after the status in place of the usual phrase. This is foreign text, so it is bounded, and
cleared of anything that a terminal or a log would interpret.
"""

from __future__ import annotations

import html
import json
import re
from http import HTTPStatus
from typing import Any

from pypimirror.domain.addresses import redacted

MOST_READ = 64 << 10  #: bytes of a body that are read: pages for people begin with styles
MOST_SAID = 300  #: characters of the reason

#: Keys of JSON that may hold the message, the likeliest first.
_KEYS = ("message", "msg", "detail", "details", "reason", "error", "errors", "title", "description")
_DEPTH = 5
#: The usual phrase of each HTTP status, in lower case.
_PHRASES = {status.value: status.phrase.lower() for status in HTTPStatus}
_UNSEEN = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")


def told(status: int, phrase: str, body: bytes) -> str:
    """Return the reason: the phrase after the status if it is unusual, and the body.

    Most servers answer 404 and 410 with a page for people, which is no reason.
    """
    usual = _PHRASES.get(status, "")
    if usual in ("not found", "gone") and _text(body).lstrip()[:1] == "<":
        body = b""
    found, own = said(body), said(phrase.encode())
    if own.lower() in (usual, str(status), "") or own.lower() in found.lower():
        return found
    return _cut(f"{own}: {found}" if found else own)


def said(body: bytes) -> str:
    """Return the text of a body, "" if it has none."""
    text = _text(body)
    if text.lstrip()[:1] in ("{", "["):
        text = _of_json(text)
    elif "<" in text:
        text = html.unescape(_TAG.sub(" ", _UNSEEN.sub(" ", text)))
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return _cut(redacted(line.replace("\N{REPLACEMENT CHARACTER}", "?")))


def _text(body: bytes) -> str:
    """Decode UTF-8, UTF-16 or UTF-32, with a mark or without, or else the Windows code page."""
    body = body[:MOST_READ]
    encoding = json.detect_encoding(body)
    try:
        return body.decode(encoding)
    except UnicodeDecodeError as error:
        is_cut = error.start > MOST_READ - 4 or encoding != "utf-8"
        return body.decode(encoding if is_cut else "windows-1252", "replace")


def _cut(line: str) -> str:
    return line if len(line) <= MOST_SAID else line[: MOST_SAID - 3].rstrip() + "..."


def _of_json(text: str) -> str:
    try:
        return _message(json.loads(text), _DEPTH) or text
    except (ValueError, RecursionError):
        return text


def _message(value: Any, depth: int) -> str:
    if isinstance(value, str):
        return value
    if depth and isinstance(value, list):
        return "; ".join(filter(None, (_message(each, depth - 1) for each in value[:3])))
    if depth and isinstance(value, dict):
        return next((s for key in _KEYS if (s := _message(value.get(key), depth - 1))), "")
    return ""
