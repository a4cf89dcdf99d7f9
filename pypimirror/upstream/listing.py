"""Project lists (the root of a simple index), in JSON and in HTML.

Lives here: bytes of such a list to a `ProjectList`. Does not live here: project pages
(`pypimirror.upstream.read`), and what a missing project means (the discover stage).

A list of PyPI has 740,000 entries, so JSON is decoded straight into `ListedProject`, and its
names are checked all at once. What comes out are valid project names as the upstream writes them,
not normalised; entries that cannot be used are left out with a warning that counts them, as they
name no project that could be asked for.

=====================  =================================================================
of a list              what happens to it
=====================  =================================================================
meta                   as on a page: `pypimirror.upstream.json`
projects               used; what is no list is refused with the list
name                   used; an entry without a valid one is told
_last-serial           `bounded.serial`; told where it is none, and never a reason to drop a
                       project: it is an index's own key
any other              not used: our list says what our pages say
=====================  =================================================================

What a list in HTML is taken for:

* one of projects, where a link leads to a directory, or to the `index.html` in it, that is called
  as its text says. Where a link leads is kept: a static index may have its pages under names that
  are not normalised, or somewhere else.
* one of projects all the same where a web server lists a directory: neither the trail of links to
  what is above it counts, nor files such as README.txt beside directories.
* a flat page of files, where all that it leads to are files. That is no index: it is refused, with
  the line that mends it. Files beside projects are left out with a warning.
* no list, where it is for people (`pypimirror.upstream.people`) and leads to nothing below itself.
* nothing that is known, else: taking an error page for an empty list would mean that all projects
  are gone.
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
from pypimirror.upstream import json
from pypimirror.upstream.checks import (
    RefusedError,
    api_version,
    resolve,
    unusable,
    without_credentials,
)
from pypimirror.upstream.read import Form, detect

#: A project's name as PyPI allows it; no longer than fits as a directory beside its temporary
#: twin.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,238}[A-Za-z0-9])?")
_INDEX_FILE = re.compile(r"/index\.html?\Z", re.I)

_ODD_SERIALS = "{} serials in the list are no numbers that can be one, and were left out"

#: What is said of a page of files that was taken for an index. It ends without a stop.
FLAT = (
    "it leads to {} files and to no project, so it is a plain page of links and not an index; "
    'write kind = "links" into its [[upstream]]'
)


class _List(msgspec.Struct):
    projects: list[ListedProject]
    meta: Any = None


_decoder = msgspec.json.Decoder(_List)
# Serials in text, or as floats that are whole numbers.
_lax_decoder = msgspec.json.Decoder(_List, strict=False)


class _Entry(msgspec.Struct):
    name: str
    serial: Any = msgspec.field(name="_last-serial", default=None)


def parse_list(body: bytes, content_type: str, url: str) -> ProjectList:
    """Read a project list of either form.

    `content_type` is the header of the answer, "" where it had none; `url` is where the list was
    found, after redirects. Raises `ReadError` where it cannot be used.
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
    """A list that is not as it should be: what can be used of it."""
    document = json.decode(body, url=url)
    meta = document.get("meta")
    json.read_meta(document, "projects", url=url)  # another major version says better what is wrong
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
    warnings = [f"{bad} entries of the list are malformed"] if bad else []
    if odd:
        warnings.append(_ODD_SERIALS.format(odd))
    return meta, projects, tuple(warnings)


def _usable(projects: list[ListedProject]) -> tuple[list[ListedProject], tuple[str, ...]]:
    """The projects with a valid name, and a warning on the others."""
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
        warnings.append(f"{len(refused)} names in the list are no names of projects: {shown}")
    if odd:
        warnings.append(_ODD_SERIALS.format(odd))
    return usable, tuple(warnings)


def _parse_html(body: bytes, url: str, charset: str | None) -> ProjectList:
    # Only here: most runs never meet HTML.
    from pypimirror.upstream import markup, people

    text = markup.decode(body, charset)
    if "<" not in text:
        raise unusable(Reason.BAD_PAGE, "it has no HTML in it", url=url)
    version: tuple[int, int] = (1, 0)
    warnings: tuple[str, ...] = ()
    is_index = False
    base = without_credentials(url)
    files = 0
    projects: dict[str, ListedProject] = {}
    links: dict[str, str] = {}
    is_directory = False
    bare: set[str] = set()  # with an ending, and not linked as directories are
    signs = people.Signs(text)
    leads_below = False
    for tag in markup.tags(text):
        signs.read(tag)
        if tag.name == "a" and "href" in tag.attributes:
            href = tag.attributes["href"]
            name = _linked_project(href, markup.link_text(text, tag))
            if name and _leads_up(href, base, url):
                continue
            leads_below = leads_below or bool(name and _leads_below(href, base, url))
            files += not name and _is_file(href)
            if name and _leads_to_directory(href):
                is_directory = True
                bare.discard(name)
            elif name and name not in projects and "." in name:
                bare.add(name)
            if name and name not in projects:
                projects[name] = ListedProject(name)
                if link := _elsewhere(href, base, name, url):
                    links[name] = link
        elif (
            tag.name == "meta"
            and tag.attributes.get("name", "").lower() == "pypi:repository-version"
        ):
            is_index = True
            version, warnings = api_version(tag.attributes.get("content", ""), url=url)
        elif tag.name == "base" and not links:
            base = urljoin(base, tag.attributes.get("href", "").strip())
    if is_directory:  # with files such as README.txt in it
        for name in bare:
            del projects[name]
        files += len(bare)
    if not projects and files:
        raise unusable(Reason.BAD_PAGE, FLAT.format(files), url=url)
    if not is_index and not leads_below and (fault := signs.fault()):
        raise unusable(Reason.BAD_PAGE, fault, url=url)
    if not projects and not is_index:
        raise unusable(Reason.BAD_PAGE, "it has no links to projects", url=url)
    if files and not url.startswith("file:"):  # of a directory, these are what makes the projects
        warnings = (*warnings, f"{files} links to files beside the projects were left out")
    return ProjectList(list(projects.values()), version, None, warnings, links)


def _leads_to_directory(href: str) -> bool:
    path = href.partition("#")[0].partition("?")[0].strip()
    return path.endswith("/") or _INDEX_FILE.search(path) is not None


def _leads_up(href: str, base: str, url: str) -> bool:
    """Whether a link leads to the list itself or to what is above it, as the trail of one does."""
    try:
        link = resolve(href.partition("#")[0].partition("?")[0].strip(), base)
    except RefusedError:
        return False
    return link.endswith("/") and url.startswith(link)


def _leads_below(href: str, base: str, url: str) -> bool:
    """Whether a link leads to what is below the list, as those of nearly all lists do."""
    try:
        link = resolve(href.partition("#")[0].partition("?")[0].strip(), base)
    except RefusedError:
        return False
    return link.startswith(_INDEX_FILE.sub("", url.partition("?")[0]).rstrip("/") + "/")


def _is_file(href: str) -> bool:
    """Whether a link leads to a distribution, and so not to a project of that name."""
    path = href.partition("#")[0].partition("?")[0].strip()
    return is_distribution(unquote(path.rpartition("/")[2]))


def _elsewhere(href: str, base: str, name: str, url: str) -> str:
    """Where a list's link leads; "" where that is the page's own place, or nowhere."""
    try:
        link = resolve(href.partition("#")[0].strip(), base)
    except RefusedError:
        return ""
    return "" if link == urljoin(url, f"{canonicalize_name(name)}/") else link


def _linked_project(href: str, text: str) -> str | None:
    """The project that a link of a list leads to, as the list writes it; None for other links.

    A link counts where its text and the last part of its path are spellings of one name, as they
    are in every index and every directory that a web server lists; "../" and help pages are not.
    The path is what counts where a listing cuts long texts short ("very-long-na..>"). Generators
    of static indexes link the file in the directory: "six/index.html", with the text "six".
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
