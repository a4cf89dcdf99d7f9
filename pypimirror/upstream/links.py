"""Plain pages of links: any HTML with links to files of any number of projects.

This module turns the bytes of such a page into a `LinkPage`, and finds the name of a file in an
answer. Not here: the parsing of HTML (`pypimirror.upstream.markup`), the project of a file
(`pypimirror.upstream.grouping`), and which hosts may be asked (the download engine).

A link is

* a file, if its path ends with the name of a distribution. Digests in its fragment, and the
  attributes of links on project pages, count here too.
* a download without a name, if the path does not end so, but the query or the text refers to a file
  ("?download=3", "/get?id=1" with the text "foo-1.0.zip", "/foo-1.0.zip/download"). Its name is
  known only from the answer.
* a page that may have more links, if it is http and its path looks like a page. The page itself in
  another order ("?C=M;O=A") and the directories above it do not count.
* ignored otherwise.

`pypimirror.upstream.html` reads the links to files on project pages. For these pages,
`parse_marked` finds the links that PEP 438 called external: pages marked with `rel="homepage"` and
`rel="download"`, and downloads without a name.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

from pypimirror.domain.filenames import is_distribution, printable
from pypimirror.domain.model import Download, File, LinkPage, Problem
from pypimirror.upstream.checks import RefusedError, Unused, resolve, without_credentials
from pypimirror.upstream.claims import fragment_digests, requires_python
from pypimirror.upstream.html import core_metadata
from pypimirror.upstream.markup import Tag, decode, link_text, tags
from pypimirror.upstream.read import Form, charset_of, detect

_SPACE = " \t\n\r\f"
_MARKS = frozenset({"homepage", "download"})
_PAGE_ENDINGS = frozenset(
    {"htm", "html", "xhtml", "shtml", "php", "asp", "aspx", "jsp", "cgi", "pl", "py"}
)

# The query of links with which a server's listing sorts itself in another order.
_ORDER = re.compile(r"(?:C=[NMSD](?:[;&]O=[AD])?|[NMSD]=[AD])")
# One parameter of Content-Disposition; the value is a quoted string or a token (RFC 6266).
_PARAMETER = re.compile(
    r";[ \t]*([A-Za-z0-9!#$&+.^_`|~-]++\*?)[ \t]*=[ \t]*(?:\"((?:[^\"\\]|\\.)*+)\"|([^;\" \t]*+))"
)
_ESCAPED = re.compile(r"\\(.)")
_CHARSETS = {"utf-8": "utf-8", "iso-8859-1": "iso-8859-1"}


def parse_links(body: bytes, *, url: str, charset: str | None = None) -> LinkPage:
    """Parse a plain page of links, found at `url` after redirects.

    It never fails: a page without links has an empty result.
    """
    return _read(decode(body, charset), url, marked_only=False)


def parse_marked(body: bytes, *, content_type: str, url: str) -> LinkPage | None:
    """Return the external links of a project page in HTML; None for a page in JSON."""
    if detect(content_type, body, url=url).form is Form.JSON:
        return None
    return _read(decode(body, charset_of(content_type)), url, marked_only=True)


def name_of(disposition: str, url: str) -> str:
    """Return the name of the file in an answer: from Content-Disposition, else from the address.

    It is not checked. "" if there is none.
    """
    return disposition_name(disposition) or unquote(urlsplit(url).path.rpartition("/")[2])


def disposition_name(header: str) -> str:
    """Return the file name in a Content-Disposition header; "" if there is none that can be read.

    `header` is decoded as Latin-1, as HTTP says. If both forms exist, the extended one counts (RFC
    6266, 4.3). A path in the name is not cut off: such a name is refused later.
    """
    _, semicolon, rest = header.partition(";")
    found: dict[str, str] = {}
    for parameter in _PARAMETER.finditer(semicolon + rest):
        value = parameter[3] if parameter[2] is None else _ESCAPED.sub(r"\1", parameter[2])
        found.setdefault(parameter[1].lower(), value)
    return _extended(found.get("filename*", "")) or _plain(found.get("filename", ""))


def _extended(value: str) -> str:
    """Decode a value such as "UTF-8''na%C3%AFve.zip" (RFC 8187)."""
    charset, _, rest = value.partition("'")
    _, quote, encoded = rest.partition("'")
    encoding = _CHARSETS.get(charset.strip().lower())
    if not quote or encoding is None:
        return ""
    try:
        return unquote(encoded, encoding, "strict")
    except UnicodeDecodeError:
        return ""


def _plain(value: str) -> str:
    try:  # HTTP says that headers are Latin-1, but servers send UTF-8
        return value.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return value


def _read(text: str, url: str, *, marked_only: bool) -> LinkPage:
    reader = _Reader(text, without_credentials(url), marked_only)
    for tag in tags(text):
        if tag.name == "a" and "href" in tag.attributes:
            reader.take(tag)
        elif tag.name == "base" and "href" in tag.attributes:
            reader.set_base(tag.attributes["href"].strip(_SPACE))
    return LinkPage(
        files=tuple(reader.files),
        pages=tuple(reader.pages),
        downloads=tuple(reader.downloads.values()),
        problems=tuple(reader.problems),
    )


class _Reader:
    """Sorts the links of one page."""

    def __init__(self, text: str, url: str, marked_only: bool) -> None:
        self.files: list[File] = []
        self.pages: dict[str, None] = {}
        self.downloads: dict[str, Download] = {}
        self.problems: list[Problem] = []
        self._text = text
        self._url = self._base = url
        self._has_base = False
        self._marked_only = marked_only
        self._unused = Unused()  # never reported: most links of such pages are not files

    def set_base(self, href: str) -> None:
        """Set the base. Only the first one counts, and only if links may lead there."""
        if self._has_base:
            return
        self._has_base = True
        try:
            self._base = resolve(href, self._base)
        except RefusedError:
            return

    def take(self, tag: Tag) -> None:
        """Read one link."""
        location, _, fragment = tag.attributes["href"].strip(_SPACE).partition("#")
        if not location:
            return
        name = unquote(location.partition("?")[0].rpartition("/")[2])
        if is_distribution(name):
            if not self._marked_only:
                self._take_file(name, location, fragment, tag)
            return
        try:
            address = resolve(location, self._base)
        except RefusedError:  # mailto:, javascript: and so on
            return
        if self._is_download(address, tag):
            self._take_download(address, fragment)
        elif self._is_page(address, tag):
            self.pages.setdefault(address)

    def _take_file(self, name: str, location: str, fragment: str, tag: Tag) -> None:
        try:
            self.files.append(
                File(
                    name,
                    resolve(location, self._base),
                    fragment_digests(fragment) if fragment else {},
                    requires_python=requires_python(tag.attributes.get("data-requires-python")),
                    yanked=tag.attributes.get("data-yanked"),
                    core_metadata=core_metadata(tag.attributes, self._unused, name),
                    provenance=self._provenance(tag),
                )
            )
        except RefusedError as error:
            self._refuse(error, name, location)

    def _provenance(self, tag: Tag) -> str | None:
        stated = tag.attributes.get("data-provenance")
        return resolve(stated.strip(_SPACE), self._base) if stated else None

    def _take_download(self, address: str, fragment: str) -> None:
        try:
            found = Download(address, fragment_digests(fragment) if fragment else {})
        except RefusedError as error:
            self._refuse(error, "", address)
        else:
            self.downloads.setdefault(address, found)

    def _refuse(self, error: RefusedError, name: str, address: str) -> None:
        shown = printable(name)
        at = printable(without_credentials(address), 300)
        self.problems.append(
            Problem(error.reason, f"{shown or at}: {error.message}.", file=shown, url=at)
        )

    def _is_download(self, address: str, tag: Tag) -> bool:
        parts = urlsplit(address)
        if self._marked_only and is_distribution(link_text(self._text, tag)):
            return False  # the project page already has it as a file
        if "download" in parts.query.lower():
            return True
        before, _, last = parts.path.rpartition("/")
        if last.lower() == "download":
            return is_distribution(unquote(before.rpartition("/")[2]))
        return bool(parts.query) and is_distribution(link_text(self._text, tag))

    def _is_page(self, address: str, tag: Tag) -> bool:
        if self._marked_only and _MARKS.isdisjoint(tag.attributes.get("rel", "").lower().split()):
            return False
        parts, own = urlsplit(address), urlsplit(self._url)
        if parts.scheme not in ("http", "https"):
            return False
        if parts.netloc.lower() == own.netloc.lower():
            if parts.path == own.path and (
                parts.query == own.query or _ORDER.fullmatch(parts.query)
            ):
                return False
            if parts.path.endswith("/") and own.path.startswith(parts.path):
                return False
        _, dot, ending = parts.path.rpartition("/")[2].rpartition(".")
        return not dot or ending.lower() in _PAGE_ENDINGS or ending[:1].isdigit()
