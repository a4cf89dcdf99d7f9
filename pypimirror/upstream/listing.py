"""Project lists (the root of a simple index), in JSON and in HTML.

This module turns the bytes of such a list into a `ProjectList`. Not here: project pages
(`pypimirror.upstream.read`), and what a missing project means (the discover stage).

PyPI's list has 740,000 entries, so JSON is decoded directly into `ListedProject`, and all names are
checked at once. The result has valid project names as the upstream writes them, not normalised.
Entries that cannot be used are left out, with a warning that counts them.

=====================  =================================================================
of a list              treatment
=====================  =================================================================
meta                   as on a page: `pypimirror.upstream.json`
projects               used; if it is not a list, the whole document is refused
name                   used; an entry without a valid name is told
_last-serial           `bounded.serial`; told if it is not valid. It is never a reason to drop a
                       project, because it is a key of the index itself
any other              not used: our list is made from our pages
=====================  =================================================================

The kinds of HTML pages:

* A list of projects has links to directories, or to the `index.html` in them, with the name of the
  directory as text. The address of each link is kept: a static index may have its pages under names
  that are not normalised, or at another place.
* A directory listing of a web server is a list of projects too. The links to the directories above
  it do not count, nor do files such as README.txt beside directories.
* A flat page links only to files. It is not an index, so it is refused with the setting that helps.
  If there are projects too, the files are left out with a warning.
* A page for people (`pypimirror.upstream.people`) that links to nothing below itself is not a list.
* Everything else is refused: if an error page counted as an empty list, all projects would be
  removed.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote, urljoin

import msgspec
from packaging.utils import canonicalize_name

from pypimirror.domain import bounded
from pypimirror.domain.filenames import is_distribution, printable
from pypimirror.domain.model import ListedProject, ProjectList, Reason
from pypimirror.domain.sizes import number_of
from pypimirror.upstream import json
from pypimirror.upstream.checks import (
    RefusedError,
    api_version,
    resolve,
    unusable,
    without_credentials,
)
from pypimirror.upstream.read import Form, detect

#: A project name as PyPI allows it. It and its temporary twin must fit as names of directories.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,238}[A-Za-z0-9])?")
_INDEX_FILE = re.compile(r"/index\.html?\Z", re.I)

_ODD_SERIALS = "{} serials in the list are not valid and were left out"

#: The message about a page of files instead of an index, without a full stop.
FLAT = (
    "it leads to {} files and to no project, so it is a plain page of links and not an index; "
    'write kind = "links" into its [[upstream]]'
)


class _List(msgspec.Struct):
    projects: list[ListedProject]
    meta: Any = None


_decoder = msgspec.json.Decoder(_List)
# It also accepts serials as text, or as floats that are whole numbers.
_lax_decoder = msgspec.json.Decoder(_List, strict=False)


class _Entry(msgspec.Struct):
    name: str
    serial: Any = msgspec.field(name="_last-serial", default=None)


def parse_list(body: bytes, content_type: str, url: str) -> ProjectList:
    """Parse a project list in JSON or HTML.

    `content_type` is the header of the answer, or "". `url` is the address of the list after
    redirects. Raises `ReadError` if the list cannot be used.
    """
    detected = detect(content_type, body, url=url)
    if detected.form is Form.JSON:
        listed = _parse_json(body, url)
    else:
        listed = _parse_html(body, url, detected.charset)
    if detected.warnings:
        listed = msgspec.structs.replace(listed, warnings=detected.warnings + listed.warnings)
    return listed


def _parse_json(body: bytes, url: str) -> ProjectList:
    warnings: tuple[str, ...] = ()
    text = body.removeprefix(b"\xef\xbb\xbf")
    try:
        try:
            listed = _decoder.decode(text)
        except msgspec.ValidationError:
            listed = _lax_decoder.decode(text)
        meta, projects = listed.meta, listed.projects
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        meta, projects, warnings = _one_by_one(body, url)
    version, warned, serial = json.read_meta(
        {"meta": meta, "projects": projects}, "projects", url=url
    )
    projects, left_out = _usable(projects)
    return ProjectList(projects, version, serial, (*warned, *warnings, *left_out))


def _one_by_one(body: bytes, url: str) -> tuple[Any, list[ListedProject], tuple[str, ...]]:
    """Return the usable entries of a malformed list."""
    document = json.decode(body, url=url)
    meta = document.get("meta")
    json.read_meta(
        document, "projects", url=url
    )  # another major version is the better error message
    entries = document.get("projects")
    if not isinstance(entries, list):
        raise unusable(Reason.BAD_PAGE, "it has no list of projects", url=url)
    projects = []
    odd = 0
    for entry in entries:
        try:
            stated = msgspec.convert(entry, _Entry)
        except msgspec.ValidationError:
            continue
        serial = bounded.serial(stated.serial)
        odd += serial is None and stated.serial not in (None, 0, "0")
        projects.append(ListedProject(stated.name, serial))
    bad = len(entries) - len(projects)
    if bad and not projects:
        raise unusable(Reason.BAD_PAGE, "none of its entries is a project", url=url)
    warnings = [f"malformed: {number_of(bad, 'entry')} of the list"] if bad else []
    if odd:
        warnings.append(_ODD_SERIALS.format(odd))
    return meta, projects, tuple(warnings)


def _usable(projects: list[ListedProject]) -> tuple[list[ListedProject], tuple[str, ...]]:
    """Return the projects with valid names, and warnings about the others."""
    if all(map(_NAME.fullmatch, [project.name for project in projects])) and all(
        serial is None or 0 < serial <= bounded.MAX_SERIAL
        for serial in [project.serial for project in projects]
    ):
        return projects, ()
    usable = []
    refused = []
    odd = 0
    for project in projects:
        if not _NAME.fullmatch(project.name):
            refused.append(project.name)
            continue
        serial = bounded.serial(project.serial)
        odd += serial is None and project.serial not in (None, 0)
        usable.append(project if serial == project.serial else ListedProject(project.name, serial))
    warnings = []
    if refused:
        shown = ", ".join(repr(printable(name, 40)) for name in refused[:3])
        warnings.append(
            f"no project's name: {number_of(len(refused), 'entry')} of the list, such as {shown}"
        )
    if odd:
        warnings.append(_ODD_SERIALS.format(odd))
    return usable, tuple(warnings)


def _parse_html(body: bytes, url: str, charset: str | None) -> ProjectList:
    # Imported here: most runs read no HTML.
    from pypimirror.upstream import markup, people

    text = markup.decode(body, charset)
    if "<" not in text:
        raise unusable(Reason.BAD_PAGE, "it has no HTML in it", url=url)
    version: tuple[int, int] = (1, 0)
    warnings: tuple[str, ...] = ()
    is_index = False
    signs = people.Signs(text)
    links = _Links(url)
    for tag in markup.tags(text):
        signs.read(tag)
        if tag.name == "a" and "href" in tag.attributes:
            links.read(tag.attributes["href"], markup.link_text(text, tag))
        elif (
            tag.name == "meta"
            and tag.attributes.get("name", "").lower() == "pypi:repository-version"
        ):
            is_index = True
            version, warnings = api_version(tag.attributes.get("content", ""), url=url)
        elif tag.name == "base":
            links.rebase(tag.attributes.get("href", "").strip())
    links.drop_files_of_directory()
    if not links.projects and links.files:
        raise unusable(Reason.BAD_PAGE, FLAT.format(links.files), url=url)
    if not is_index and not links.lead_below and (fault := signs.fault()):
        raise unusable(Reason.BAD_PAGE, fault, url=url)
    if not links.projects and not is_index:
        raise unusable(Reason.BAD_PAGE, "it has no links to projects", url=url)
    if links.files and not url.startswith("file:"):  # a local directory's projects are its files
        left_out = f"left out: {number_of(links.files, 'link')} to files beside the projects"
        warnings = (*warnings, left_out)
    return ProjectList(list(links.projects.values()), version, None, warnings, links.elsewhere)


class _Links:
    """The links of a list in HTML, sorted into projects and files."""

    def __init__(self, url: str) -> None:
        self.projects: dict[str, ListedProject] = {}
        self.elsewhere: dict[str, str] = {}  #: unusual addresses of pages, by project
        self.files = 0  #: links to files
        self.lead_below = False  #: some project's link leads below the list
        self._url = url
        self._base = without_credentials(url)
        self._is_directory = False
        #: Names with an ending whose links are not those of directories.
        self._bare: set[str] = set()

    def rebase(self, href: str) -> None:
        """Resolve all further links against `href`, unless a project's address is known already."""
        if not self.elsewhere:
            self._base = urljoin(self._base, href)

    def read(self, href: str, text: str) -> None:
        """Add a link with its text."""
        name = _linked_project(href, text)
        if not name:
            self.files += _is_file(href)
            return
        if _leads_up(href, self._base, self._url):
            return
        self.lead_below = self.lead_below or _leads_below(href, self._base, self._url)
        if _leads_to_directory(href):
            self._is_directory = True
            self._bare.discard(name)
        elif name not in self.projects and "." in name:
            self._bare.add(name)
        if name not in self.projects:
            self.projects[name] = ListedProject(name)
            if link := _elsewhere(href, self._base, name, self._url):
                self.elsewhere[name] = link

    def drop_files_of_directory(self) -> None:
        """Count names with an ending as files if this is a directory: it may have a README.txt."""
        if self._is_directory:
            for name in self._bare:
                del self.projects[name]
            self.files += len(self._bare)


def _leads_to_directory(href: str) -> bool:
    path = href.partition("#")[0].partition("?")[0].strip()
    return path.endswith("/") or _INDEX_FILE.search(path) is not None


def _leads_up(href: str, base: str, url: str) -> bool:
    """Whether a link leads to the list itself or to a directory above it."""
    try:
        link = resolve(href.partition("#")[0].partition("?")[0].strip(), base)
    except RefusedError:
        return False
    return link.endswith("/") and url.startswith(link)


def _leads_below(href: str, base: str, url: str) -> bool:
    """Whether a link leads below the list, as in nearly all lists."""
    try:
        link = resolve(href.partition("#")[0].partition("?")[0].strip(), base)
    except RefusedError:
        return False
    return link.startswith(_INDEX_FILE.sub("", url.partition("?")[0]).rstrip("/") + "/")


def _is_file(href: str) -> bool:
    """Whether a link leads to a distribution, not to a project with that name."""
    path = href.partition("#")[0].partition("?")[0].strip()
    return is_distribution(unquote(path.rpartition("/")[2]))


def _elsewhere(href: str, base: str, name: str, url: str) -> str:
    """Return the address of a project's page in a list; "" if it is the usual one or not valid."""
    try:
        link = resolve(href.partition("#")[0].strip(), base)
    except RefusedError:
        return ""
    return "" if link == urljoin(url, f"{canonicalize_name(name)}/") else link


def _linked_project(href: str, text: str) -> str | None:
    """Return the project that a link of a list leads to, as the list writes it; None for other
    links.

    A link counts if its text and the last part of its path are spellings of the same name. That is
    so in every index and in every directory listing, but not for "../" and help pages. If a listing
    shortens long texts ("very-long-na..>"), the path counts. Generators of static indexes may link
    to the file in the directory: "six/index.html" with the text "six".
    """
    if _is_file(href):
        return None
    path = href.partition("#")[0].partition("?")[0].strip().rstrip("/")
    path = _INDEX_FILE.sub("", path)
    segment = unquote(path.rpartition("/")[2])
    text = text.rstrip("/")
    if not _NAME.fullmatch(segment):
        return None
    if text == segment:
        return text
    if _NAME.fullmatch(text) and canonicalize_name(text) == canonicalize_name(segment):
        return text
    shortened = text.rstrip(".>…")
    if len(shortened) > 8 and shortened != text and segment.startswith(shortened):
        return segment
    return None
