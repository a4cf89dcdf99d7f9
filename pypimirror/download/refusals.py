"""What an answer that refuses something says about why, in a line. Pure.

A policy firewall in front of an index writes its reason into the body: in JSON, in HTML or plainly.
It is foreign text: bounded, and without anything that a terminal or a log would obey.
"""

from __future__ import annotations

import html
import json
import re
from typing import Any

from pypimirror.addresses import redacted

MOST_READ = 8 << 10  #: bytes of a body that are looked at
MOST_SAID = 300  #: characters of it that are told

#: Where JSON has its message, the likeliest first.
_KEYS = ("message", "detail", "details", "reason", "error", "errors", "title", "description")
_DEPTH = 5
_UNSEEN = re.compile(r"<(script|style)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")


def said(body: bytes) -> str:
    """Return what a body says, empty where it says nothing."""
    text = body[:MOST_READ].decode("utf-8", "replace")
    if text.lstrip()[:1] in ("{", "["):
        text = _of_json(text)
    elif "<" in text:
        text = html.unescape(_TAG.sub(" ", _UNSEEN.sub(" ", text)))
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = redacted(line.replace("\N{REPLACEMENT CHARACTER}", "?"))
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
