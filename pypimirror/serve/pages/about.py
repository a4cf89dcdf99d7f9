"""The core metadata of a project, from the tree or from an sdist, and its description as HTML.

Strangers wrote all of it. A description has bounds of size and time. It becomes HTML as on other
indexes, and then loses everything but structured text: pictures, styles, classes, ids. Links get
`nofollow noopener`.
"""

from __future__ import annotations

import hashlib
import logging
import re
import signal
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any
from urllib.parse import urlsplit

import nh3
from markupsafe import Markup

from pypimirror.domain.filenames import printable
from pypimirror.domain.layout import METADATA_SUFFIX
from pypimirror.domain.metadata.dependencies import RequirementParts, of_wheel, split
from pypimirror.serve.tree import AwayError, Tree
from pypimirror.verify import pkg_info

log = logging.getLogger(__name__)

#: Bytes of core metadata that are read; characters of a description that are shown.
_MOST, _LONGEST = 2 << 20, 200_000
#: Bytes of the HTML of a description.
_HTML = 400_000
#: Bytes of descriptions that are kept, about.
KEPT = 32 << 20
#: Seconds of processor time that the description may take. By the clock, it is longer on a machine
#: whose installers need all of it.
PATIENCE = 1.0

_TAGS = {
    *("a", "abbr", "b", "blockquote", "br", "caption", "cite", "code", "dd", "del", "div", "dl"),
    *("dt", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "kbd", "li", "ol", "p", "pre"),
    *("strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "tt", "ul", "var"),
}
_ATTRIBUTES: dict[str, set[str]] = {
    "*": set(),
    "a": {"href"},
    "ol": {"start"},
    "td": {"colspan", "rowspan"},
}
_HEADING = re.compile(r"<(/?)h([1-6])>")
#: A link to a place in the description, or beside it in a repository: neither exists here.
_RELATIVE_LINK = re.compile(r'<a href="(?!https?:|mailto:)[^"]*"[^>]*>', re.IGNORECASE)
#: A link around a picture has no text once the picture is gone.
_EMPTY_LINK = re.compile(r'<a(?: href="[^"]*")?(?: rel="[^"]*")?>\s*</a>')


class _TooLongError(BaseException):
    """Making a description takes too long. Libraries must not catch it."""


@dataclass(frozen=True)
class About:
    """The parts of a file's core metadata that pages show."""

    summary: str = ""
    description: str = ""  #: HTML that is safe to show, as `Markup`
    licence: str = ""
    author: str = ""
    requires_python: str = ""
    links: tuple[tuple[str, str], ...] = ()  #: name and address
    requires: tuple[RequirementParts, ...] = ()
    extras: tuple[str, ...] = ()


class Descriptions:
    """Reads core metadata from a tree, and keeps it for later pages."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._kept: OrderedDict[tuple[str, bytes], About] = OrderedDict()
        self._size = 0

    def read(self, path: str, digest: bytes) -> About | None:
        """Return the core metadata at `path`, or that of an sdist there; None if it is not here.

        `digest` is the sha256 of that file.
        """
        key = path, digest
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        about = self._read(path, digest)
        if about is not None:  # what is not here may come
            self._kept[key] = about
            self._size += _size(about)
            while self._size > KEPT:
                self._size -= _size(self._kept.popitem(last=False)[1])
        return about

    def _read(self, path: str, digest: bytes) -> About | None:
        is_metadata = path.endswith(METADATA_SUFFIX)
        body = read_file(self._tree, path, _MOST if is_metadata else pkg_info.MOST)
        if body is None or hashlib.sha256(body).digest() != digest:
            return None
        if not is_metadata:
            body = pkg_info.find(body, path.rpartition("/")[2])
        return None if body is None else parse(body)


def _size(about: About) -> int:
    """Return about how many bytes it takes in memory."""
    return 4096 + sys.getsizeof(about.description)


def read_file(tree: Tree, path: str, most: int = _MOST) -> bytes | None:
    """Return at most this many first bytes of a file of the tree; None if it cannot be read."""
    top, *parts = path.split("/")
    try:
        opened = tree.open(top, *parts)
        if opened is None:
            return None
        opened.until(min(opened.size, most))
        with opened.handle as stream:
            return stream.read(most)
    except (AwayError, OSError):
        return None


def parse(metadata: bytes) -> About:
    """Return the parts of core metadata that pages show."""
    from packaging.metadata import parse_email

    raw, _ = parse_email(metadata)
    given = of_wheel(metadata)
    text = raw.get("description") or ""
    return About(
        summary=line(raw.get("summary")),
        description=described(text, raw.get("description_content_type") or ""),
        licence=_licence(raw),
        author=line(raw.get("author") or raw.get("author_email")),
        requires_python=line(raw.get("requires_python"), 100),
        links=tuple(_links(raw)),
        requires=tuple(split(each) for each in given.requires),
        extras=tuple(line(each) for each in (raw.get("provides_extra") or ())[:200]),
    )


def line(text: str | None, limit: int = 300) -> str:
    """Return a foreign text as one line of bounded length."""
    return printable(" ".join((text or "")[: 4 * limit].split()), limit)


def _licence(raw: Any) -> str:
    named = raw.get("license_expression") or raw.get("license") or ""
    if not named or len(named) > 100:  # some put the whole text there
        of = [c for c in raw.get("classifiers") or () if c.startswith("License :: ")]
        named = ", ".join(each.rpartition(" :: ")[2] for each in of) or named
    return line(named, 100)


def _links(raw: Any) -> Iterator[tuple[str, str]]:
    urls = dict(raw.get("project_urls") or {})
    if home := raw.get("home_page"):
        urls.setdefault("Homepage", home)
    for name, address in list(urls.items())[:20]:
        if is_web(address):
            yield line(name, 60), address


def is_web(address: str) -> bool:
    """Whether a page may link to an address."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    usual = parts.scheme in ("http", "https") and bool(parts.hostname)
    return usual and len(address) <= 500 and address.isprintable()


def described(text: str, content_type: str) -> Markup:
    """Return a description as HTML, or as plain text if that fails or takes too long."""
    cut = "" if len(text) <= _LONGEST else "<p>The rest of this description is not shown.</p>"
    text = text[:_LONGEST]
    try:
        with _at_most(PATIENCE):
            html = _rendered(text, content_type.partition(";")[0].strip().lower())
    except (ImportError, MemoryError):  # not the text's fault
        raise
    except (_TooLongError, Exception) as error:  # noqa: BLE001 - a text may be too deep, for one
        log.debug("a description is shown as plain text: %r", error)
        html = None
    if html is None or len(html) > _HTML:
        html = f"<pre>{escape(text)}</pre>" if text else ""
    return Markup(html + cut)


def _rendered(text: str, kind: str) -> str | None:
    if not text.strip():
        return ""
    if kind == "text/markdown":
        from readme_renderer import markdown

        # `render` would also colour code, and clean the HTML for a page with colours and pictures.
        make = markdown.variants.get("GFM")
        html = None if make is None else make(text)
    elif kind == "text/plain":
        return None
    else:  # the default of core metadata
        from pypimirror.serve.pages.descriptions import restructured

        html = restructured.html(text)
    return None if html is None else cleaned(html)


def cleaned(html: str) -> str:
    """Return HTML with only the elements that a description may have, and headings below ours."""
    html = nh3.clean(
        html,
        tags=_TAGS,
        clean_content_tags={"script", "style", "svg", "math"},
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        link_rel="nofollow noopener",
    )
    html = _EMPTY_LINK.sub("", _RELATIVE_LINK.sub("<a>", html))
    level = 2  # of the heading above the description

    def below(found: re.Match[str]) -> str:
        nonlocal level
        if not found[1]:  # screen readers expect that no level is left out
            level = min(6, int(found[2]) + 2, level + 1)
        return f"<{found[1]}h{level}>"

    return _HEADING.sub(below, html)


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """Raise `_TooLongError` after this many seconds of processor time. Only for the main thread."""

    def stop(_number: int, _frame: object) -> None:
        raise _TooLongError

    def report(lost: sys.UnraisableHookArgs) -> None:
        if lost.exc_type is not _TooLongError:
            hook(lost)

    before, hook = signal.signal(signal.SIGPROF, stop), sys.unraisablehook
    # Again and again, and without a report: in a finalizer or a callback, the error is lost.
    sys.unraisablehook = report
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        sys.unraisablehook = hook
