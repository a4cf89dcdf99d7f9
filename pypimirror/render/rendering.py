"""Render project pages and root indexes to bytes, in JSON and in HTML.

These are pure functions of `pypimirror.render.pages`. Equal input gives equal bytes, so an
unchanged page need not be written again.

* JSON follows the simple repository API up to version 1.4. `meta` comes first, and the other keys
  are sorted. Keys that this program does not know are passed on. A key that it knows is never
  copied from unknown keys, because that claim was not checked here.
* HTML follows PEPs 503, 592, 629, 658, 714, 740 and 792. It is frozen (PEP 833): unknown keys, and
  digests other than sha256, are only in JSON. The serial is a comment at the end, as on PyPI.
* Links are relative unless configured otherwise. So they work behind any web server, under any
  prefix and as `file://`. Links to files that are not here lead to the upstream.

There is no template engine, because these pages are short and there are 740,000 of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from pypimirror.domain import bounded
from pypimirror.domain.model import ALGORITHMS, DETAILS, NEWEST_API, ProjectStatus
from pypimirror.render.pages import Page, PageFile, RootEntry

#: Digests that a page may have: those that `hashlib.new` supports everywhere.
_HASHES = frozenset(ALGORITHMS) & hashlib.algorithms_guaranteed

_DETAIL_KEYS, _details = tuple(DETAILS.values()), attrgetter(*DETAILS)
_PAGE_KEYS = frozenset({"meta", "name", "project-status", "versions", "files"})
_FILE_KEYS = frozenset(
    {
        *DETAILS.values(),
        "filename",
        "url",
        "hashes",
        "size",
        "core-metadata",
        "dist-info-metadata",
        "data-dist-info-metadata",
        "provenance",
        "gpg-sig",  # signature files are not mirrored
    }
)

#: The path from a project's page to the mirror root.
RELATIVE = "../../"

#: Entries of a root index in one chunk: some 100 KB.
_BATCH = 2048

# At most 19 digits: the serial of a page on disk must fit into the catalog.
_SERIAL_JSON = re.compile(rb'\{"meta":\{"_last-serial":(\d{1,19}),')
_SERIAL_HTML = re.compile(rb"<!--SERIAL (\d{1,19})-->\n\Z")

_encode_sorted = msgspec.json.Encoder(order="deterministic").encode
_encode = msgspec.json.Encoder().encode


class _ListedProject(msgspec.Struct, omit_defaults=True, gc=False):
    """An entry of the root index in JSON."""

    name: str
    serial: int | None = msgspec.field(name="_last-serial", default=None)


def serial_of(page: bytes) -> int | None:
    """Return the serial in a page of either form, or None."""
    found = _SERIAL_JSON.match(page) or _SERIAL_HTML.search(page[-64:])
    return bounded.natural(found[1]) if found else None


# --- JSON -----------------------------------------------------------------------------------------


def page_json(page: Page, base: str = RELATIVE) -> bytes:
    """Return a project's page as `application/vnd.pypi.simple.v1+json`.

    Raises ValueError for a file without a proven sha256.
    """
    version = min(page.api_version, NEWEST_API)
    body: dict[str, Any] = {k: v for k, v in page.extra.items() if k not in _PAGE_KEYS}
    body["name"] = page.project
    if version >= (1, 4):
        status = {"status": page.status.value}
        if page.status_reason is not None:
            status["reason"] = page.status_reason
        body["project-status"] = status
    if version >= (1, 1):
        body["versions"] = _versions(page)
    body["files"] = [_file_object(file, base) for file in offered(page)]
    # Two objects are joined, so that `meta` comes first and a server finds the serial quickly.
    return _meta_object(version, page.serial)[:-1] + b"," + _encode_sorted(body)[1:]


def _meta_object(version: tuple[int, int], serial: int | None) -> bytes:
    meta: dict[str, Any] = {} if serial is None else {"_last-serial": serial}
    meta["api-version"] = _dotted(version)
    return _encode({"meta": meta})


def _file_object(file: PageFile, base: str) -> dict[str, Any]:
    extra = file.extra
    entry: dict[str, Any] = {k: v for k, v in extra.items() if k not in _FILE_KEYS} if extra else {}
    digests = file.digests
    if "sha256" not in digests:
        _fragment(file)
    entry["filename"] = file.filename
    entry["url"] = link(file, base)
    if not digests.keys() <= _HASHES:
        digests = {name: value for name, value in digests.items() if name in _HASHES}
    entry["hashes"] = digests
    if file.size is not None:
        entry["size"] = file.size
    for key, value in zip(_DETAIL_KEYS, _details(file), strict=True):
        if value is not None:
            entry[key] = value
    entry["yanked"] = (file.yanked or True) if file.yanked is not None else False
    if file.core_metadata is not None:
        entry["core-metadata"] = {"sha256": file.core_metadata}
    if file.provenance:
        entry["provenance"] = _provenance(file, entry["url"])
    return entry


def _versions(page: Page) -> Sequence[str]:
    """Return the upstream's versions, or those of the files, because API 1.1 requires some.

    An upstream in HTML may state API 1.1 or later, but cannot list versions.
    """
    if page.versions is not None:
        return page.versions
    found: set[Version] = set()
    for file in page.files:
        try:
            if file.filename.endswith(".whl"):
                found.add(parse_wheel_filename(file.filename)[1])
            else:
                found.add(parse_sdist_filename(file.filename)[1])
        except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
            continue  # the name has no valid version; the file is offered anyway
    return [str(version) for version in sorted(found)]


def _root_json_head(api_version: tuple[int, int], serial: int | None) -> bytes:
    return _meta_object(min(api_version, NEWEST_API), serial)[:-1] + b',"projects":['


def _root_json_entries(entries: Sequence[RootEntry]) -> bytes:
    return _encode([_ListedProject(entry.project, entry.serial) for entry in entries])[1:-1]


# --- HTML -----------------------------------------------------------------------------------------


def page_html(page: Page, base: str = RELATIVE) -> bytes:
    """Return a project's page as HTML.

    Raises ValueError for a file without a proven sha256.
    """
    version = min(page.api_version, NEWEST_API)
    status = ""
    if version >= (1, 4):
        status = f'<meta name="pypi:project-status" content="{page.status.value}">\n'
        if page.status_reason is not None:
            reason = _escape(page.status_reason)
            status += f'<meta name="pypi:project-status-reason" content="{reason}">\n'
    links = "".join([_anchor(file, base) for file in offered(page)])
    title = f"Links for {_escape(page.project)}"
    text = f"{_head(version, title, status)}<h1>{title}</h1>\n{links}{_tail(page.serial)}"
    return text.encode()


def _head(version: tuple[int, int], title: str, metas: str = "") -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="pypi:repository-version" content="{_dotted(version)}">\n'
        f"{metas}<title>{title}</title>\n</head>\n<body>\n"
    )


def _tail(serial: int | None) -> str:
    comment = "" if serial is None else f"<!--SERIAL {serial}-->\n"
    return f"</body>\n</html>\n{comment}"


def _anchor(file: PageFile, base: str) -> str:
    attributes = ""
    if file.requires_python is not None:
        attributes += f' data-requires-python="{_escape(file.requires_python)}"'
    if file.yanked is not None:
        attributes += f' data-yanked="{_escape(file.yanked)}"'
    if file.core_metadata is not None:
        digest = f'"sha256={file.core_metadata}"'
        attributes += f" data-core-metadata={digest} data-dist-info-metadata={digest}"
    address = link(file, base)
    if file.provenance:
        attributes += f' data-provenance="{_escape(_provenance(file, address))}"'
    name = _escape(file.filename)
    return f'<a href="{_escape(address)}{_fragment(file)}"{attributes}>{name}</a><br>\n'


def _root_html_head(api_version: tuple[int, int], _: int | None) -> bytes:
    return _head(min(api_version, NEWEST_API), "Simple index").encode()


def _root_html_entries(entries: Sequence[RootEntry]) -> bytes:
    names = (entry.project for entry in entries)
    lines = [f'<a href="{_quote(name)}/">{_escape(name)}</a><br>\n' for name in names]
    return "".join(lines).encode()


# --- Both -----------------------------------------------------------------------------------------


def offered(page: Page) -> tuple[PageFile, ...]:
    """Return the page's files; none in quarantine, whatever the catalog has (PEP 792)."""
    return () if page.status is ProjectStatus.QUARANTINED else page.files


def _fragment(file: PageFile) -> str:
    """Return the end of a file's link: its sha256, or the best claim about an expected file."""
    if (sha256 := file.digests.get("sha256")) is not None:
        return f"#sha256={sha256}"
    if not file.expected:
        raise ValueError(f"{file.filename}: no sha256 was proven, so it cannot be linked")
    known = (name for name in ALGORITHMS if name in _HASHES and name in file.digests)
    return next((f"#{name}={file.digests[name]}" for name in known), "")


def link(file: PageFile, base: str) -> str:
    """Return the file's address. `base` is the prefix of paths below the mirror root.

    Raises ValueError for an upstream's address that nobody could fetch or that contains a login.
    """
    if file.elsewhere is None:
        return base + (file.path if _ordinary_path(file.path) else quote(file.path))
    return _absolute(file.elsewhere.url)


def _provenance(file: PageFile, address: str) -> str:
    if file.elsewhere is None or file.elsewhere.provenance is None:
        return f"{address}.provenance"
    return _absolute(file.elsewhere.provenance)


def _absolute(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        raise ValueError(f"no page may link to {parts.scheme}://{parts.hostname}")
    return parts._replace(fragment="").geturl()


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _batches(entries: Iterable[RootEntry]) -> Iterator[list[RootEntry]]:
    iterator = iter(entries)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


_ordinary = re.compile(r"[A-Za-z0-9_.~-]*").fullmatch  # matches most project names
_ordinary_path = re.compile(r"[A-Za-z0-9_.~/-]*").fullmatch


def _quote(text: str) -> str:
    return text if _ordinary(text) else quote(text, safe="")


#: HTML allows no control characters except white space, not even escaped. JSON keeps them.
_ESCAPES: dict[int, str] = {
    **dict.fromkeys([*range(0x20), *range(0x7F, 0xA0)], "\N{REPLACEMENT CHARACTER}"),
    **{ord(c): f"&#{ord(c)};" for c in "\t\n\r"},
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord('"'): "&quot;",
    ord("'"): "&#39;",
}
_special = re.compile("[\x00-\x1f\x7f-\x9f&<>\"']").search


def _escape(text: str) -> str:
    """Escape `text` for the content of an element or a quoted attribute."""
    return text.translate(_ESCAPES) if _special(text) else text


# --- Root indexes ---------------------------------------------------------------------------------


class RootForm(Struct, frozen=True):
    """The parts of a root index: a head, an entry for each project, and a tail."""

    head: Callable[[tuple[int, int], int | None], bytes]  #: from API version and serial
    entries: Callable[[Sequence[RootEntry]], bytes]
    separator: bytes  #: between two entries
    tail: Callable[[int | None], bytes]  #: from the serial
    opening: bytes  #: the begin of each entry, up to its name; it occurs only once in an entry
    entry: re.Pattern[bytes]  #: matches an entry of an ordinary project; group 1 is its name


ROOT_FORMS = {
    "html": RootForm(
        _root_html_head,
        _root_html_entries,
        b"",
        lambda serial: _tail(serial).encode(),
        b'<a href="',
        re.compile(rb'<a href="([a-z0-9-]+)/">[a-z0-9-]+</a><br>\n'),
    ),
    "json": RootForm(
        _root_json_head,
        _root_json_entries,
        b",",
        lambda _: b"]}",
        b'{"name":"',
        re.compile(rb'\{"name":"([a-z0-9-]+)"(?:,"_last-serial":\d+)?\}'),
    ),
}


def root(
    form: RootForm,
    entries: Iterable[RootEntry],
    *,
    api_version: tuple[int, int],
    serial: int | None,
) -> Iterator[bytes]:
    """Yield a root index in chunks, with its entries in the given order."""
    yield form.head(api_version, serial)
    separator = b""
    for batch in _batches(entries):
        yield separator + form.entries(batch)
        separator = form.separator
    yield form.tail(serial)
