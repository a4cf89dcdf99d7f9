"""The tags of an HTML page, in time that is linear in its length.

This module tokenises HTML as far as indexes of links need it: which tags there are, with which
attributes, by the rules of the HTML standard (section "Tokenization"). Not here: the meaning of
links (`pypimirror.upstream.html`, `pypimirror.upstream.listing`).

Why not a library: a flat page of links needs no tree, and building a tree is the expensive part. A
parser that builds one takes ten times longer for ordinary pages. Worse, 100 KB of "<!--<!--" or "<a
<a " from a hostile or broken upstream keep the parsers of the standard library (and those built on
them) busy for minutes, and nested tags do the same to the fast HTML5 parser in C. Here, every
pattern is possessive: no character is read twice, and parsing ends where nothing matches.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from html import unescape
from html.entities import html5
from typing import NamedTuple

_SPACE = r"[ \t\n\r\f]"
_ATTRIBUTE = (
    r"(=?[^ \t\n\r\f/>=]++|=)"
    rf"(?:{_SPACE}*+={_SPACE}*+(?:\"([^\"]*+)\"|'([^']*+)'|([^ \t\n\r\f>\"'][^ \t\n\r\f>]*+))?+)?+"
)
# The same without groups, up to the end of the tag. It fails only if the page ends before that.
_ATTRIBUTES = rf"(?:[ \t\n\r\f/]++|{re.sub(r'[(](?=[^?])', '(?:', _ATTRIBUTE)})*+>"
# Elements whose content is always text.
_TEXT_ELEMENTS = "title|textarea|style|script|xmp|iframe|noembed|noframes"
_WANTED = rf"(?i:a|base|meta|form|input|plaintext|{_TEXT_ELEMENTS})(?=[ \t\n\r\f/>])"
_SKIPPED = (
    r"(?:[^<]++"
    r"|<(?![A-Za-z/!?])"
    rf"|<(?!{_WANTED})[A-Za-z][^ \t\n\r\f/>]*+{_ATTRIBUTES}"
    rf"|</[A-Za-z][^ \t\n\r\f/>]*+{_ATTRIBUTES}"
    r"|<!--(?:-?>|(?s:.*?)--!?>)"
    r"|<(?:!(?!--)|\?|/(?![A-Za-z]))[^>]*+>"
    r")*+"
)
_NEXT_TAG = re.compile(rf"{_SKIPPED}<({_WANTED})({_ATTRIBUTES})")
_EACH_ATTRIBUTE = re.compile(_ATTRIBUTE)
_TEXT_END = {
    name: re.compile(rf"</{name}(?=[ \t\n\r\f/>])", re.I) for name in _TEXT_ELEMENTS.split("|")
}
_LINK_END = re.compile(r"</?a[ \t\n\r\f/>]", re.I)
_ANY_TAG = re.compile(r"<[^>]*+>?")
# Numbers have a limit, because int() refuses thousands of digits. A name without a semicolon is a
# reference only if no letter, digit or "=" follows, so that "?a=1&copy=2" stays unchanged.
_REFERENCE = re.compile(
    r"&(?:#[0-9]{1,8}+;?|#[xX][0-9a-fA-F]{1,8}+;?|[A-Za-z][A-Za-z0-9]{1,31}+(?:;|(?!=)))"
)

# Encodings that a page may name. All are supersets of ASCII or cannot be confused with them. Other
# codecs of Python are not for the web ("idna", "unicode_escape"), and some are slow.
_ENCODINGS = re.compile(r"(?:utf-?(?:8|16)|(?:iso-?8859-|windows-|cp)[0-9]{1,4}|latin-?1)", re.I)

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

#: Most characters of a link's text that are read, including its tags.
MAX_LINK_TEXT = 4096


class Tag(NamedTuple):
    """An opening tag: its name in lower case, its attributes, and its end in the text."""

    name: str
    attributes: dict[str, str]  #: names in lower case; the first of equal ones counts
    end: int


def decode(body: bytes, charset: str | None = None) -> str:
    """Decode a page: by its byte order mark, else by `charset`, else as UTF-8.

    Invalid bytes become U+FFFD, which no file name may contain.
    """
    mark, encoding = next((each for each in _MARKS if body.startswith(each[0])), (b"", ""))
    if not mark:
        encoding = charset if charset and _ENCODINGS.fullmatch(charset) else "utf-8"
    try:
        text = body[len(mark) :].decode(encoding, "replace")
    except LookupError:
        text = body.decode("utf-8", "replace")
    # The HTML standard says so, and the database could not store a NUL.
    return text.replace("\0", "\ufffd")


def tags(text: str) -> Iterator[Tag]:
    """Yield the opening tags of links, of `base`, `meta`, `form`, `input` and of text elements.

    A tag, comment or text element that is still open at the end of the page is ignored.
    """
    position = 0
    while found := _NEXT_TAG.match(text, position):
        name = found[1].lower()
        position = found.end()
        yield Tag(name, _attributes(found[2]), position)
        if name == "plaintext":
            return
        if name in _TEXT_END:
            end = _TEXT_END[name].search(text, position)
            if end is None:
                return
            position = end.start()


def link_text(text: str, tag: Tag) -> str:
    """Return the text of a link, without tags and surrounding space."""
    end = _LINK_END.search(text, tag.end, tag.end + MAX_LINK_TEXT)
    inner = text[tag.end : end.start() if end else tag.end + MAX_LINK_TEXT]
    return unescaped(_ANY_TAG.sub("", inner)).strip()


def element_text(text: str, tag: Tag) -> str:
    """Return the text of an element that has only text, such as `title`; at most
    `MAX_LINK_TEXT`.
    """
    end = text.find("<", tag.end, tag.end + MAX_LINK_TEXT)
    return unescaped(text[tag.end : end if end >= 0 else tag.end + MAX_LINK_TEXT]).strip()


def unescaped(value: str) -> str:
    """Return a value with its character references replaced."""
    if "&" not in value:
        return value
    return _REFERENCE.sub(_referenced, value)


def _referenced(reference: re.Match[str]) -> str:
    stated = reference[0]
    return unescape(stated) if stated[1] == "#" else html5.get(stated[1:], stated)


def _attributes(source: str) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for name, double, single, bare in _EACH_ATTRIBUTE.findall(source[:-1]):
        attributes.setdefault(name.lower(), unescaped(double or single or bare))
    return attributes
