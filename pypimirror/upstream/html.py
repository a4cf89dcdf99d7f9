"""Project pages in HTML (PEP 503 and its additions), and older pages of links like them.

Lives here: bytes of such a page to a `ProjectPage`. Does not live here: HTML as such
(`pypimirror.upstream.markup`), and the rules that all forms share (`pypimirror.upstream.checks`).

Which links count: those whose path ends with the name of a distribution; where the path does not
(links like "/get?id=1"), those whose text is such a name. All others, such as "../", help pages
and signatures, are passed over in silence.

What becomes of what a link and the page's meta tags say. "Refused" and "told" are as in
`pypimirror.upstream.json`.

========================  ==============================================================
attribute, or meta tag    what happens to it
========================  ==============================================================
href                      used; refused where unsafe. Digests in its fragment are claims; unknown
                          algorithms are told
data-requires-python      used; refused where too long
data-yanked               used: whatever it says, it is a mark
data-core-metadata        used: "true", or a digest; told where it is neither and not "false"
data-dist-info-metadata   the same, where there is no data-core-metadata; told where that says
                          otherwise
data-gpg-sig              not used: signatures are not mirrored
data-provenance           used; refused where unsafe
any other data-*          told; HTML has no place to pass it on, as it is frozen (PEP 833)
pypi:repository-version   used; another major version is refused with the page
pypi:project-status       used; an unknown one is told
pypi:project-status-reason  used
any other pypi:*          told
SERIAL                    the comment at the end of a page: `bounded.serial`
========================  ==============================================================

Which pages count: a page without such a link is that of a project without files only where its
title or its meta tags show it to be an index, and nothing that it is for people
(`pypimirror.upstream.people`). Taking an error page for one would withdraw the project.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from pypimirror.domain import bounded
from pypimirror.domain.filenames import check_filename, is_distribution, printable
from pypimirror.domain.model import File, ProjectPage, ProjectStatus, Reason
from pypimirror.upstream.checks import (
    BAD_METADATA,
    OTHER_METADATA,
    UNKNOWN_KEYS,
    Collector,
    RefusedError,
    Unused,
    api_version,
    fragment_digests,
    metadata_digests,
    requires_python,
    resolve,
    status_of,
    unusable,
    without_credentials,
)
from pypimirror.upstream.markup import Tag, decode, link_text, tags
from pypimirror.upstream.people import Signs

# Beside a distribution under its name: the link's text may still be the distribution's.
_BESIDE = (".asc", ".sig", ".metadata", ".provenance", ".attestation", ".md5", ".sha256", ".sha512")
_SPACE = " \t\n\r\f"
_DIGEST = re.compile(r"(\w+)=(.+)")
# What bandersnatch and PyPI write at the end of a page.
_SERIAL = re.compile(rb"<!--\s*SERIAL\s+([0-9]{1,18})\s*-->\s*\Z")
_KNOWN_DATA = frozenset(
    {"data-requires-python", "data-yanked", "data-core-metadata", "data-dist-info-metadata"}
    | {"data-gpg-sig", "data-provenance"}
)
_KNOWN_META = frozenset({"repository-version", "project-status", "project-status-reason"})
# What servers call a list of files: `_INDEX_TITLE` says it by itself, `_INDEX_WORD` beside the
# project's name.
_INDEX_TITLE = re.compile(
    r"\blinks? (?:for|to)\b|\bindex (?:of|for)\b|\b(?:simple|package|file|directory) index\b"
    r"|\bdirectory(?: listing|:)|\blisting\b|/simple\b"
    r"|\A\W*(?:simple|index|directory|packages|files)\W*\Z",
    re.I,
)
_INDEX_WORD = re.compile(r"\b(?:links?|index|directory|simple|files|packages)\b", re.I)


def parse_page(body: bytes, *, url: str, project: str, charset: str | None = None) -> ProjectPage:
    """Read a project page.

    `url` is where the page was found, after redirects. `project` is the `ProjectName` that was
    asked for; HTML does not name it. `charset` is what the answer's content type says. Raises
    `ReadError` where the page cannot be used; a link that cannot is a problem of the page.
    """
    text = decode(body, charset)
    if "<" not in text:
        message = "it is empty" if not text.strip() else "it has no HTML in it"
        raise unusable(Reason.BAD_PAGE, message, url=url, project=project)
    reader = _Page(text, without_credentials(url), project)
    for tag in tags(text):
        reader.read(tag)
    stated = reader.meta.get("repository-version", "1.0")
    version, warned = api_version(stated, url=url, project=project)
    for name in reader.meta.keys() - _KNOWN_META:
        reader.unused.add(UNKNOWN_KEYS, f"pypi:{name}")
    warnings = [*warned, *reader.warnings]
    status = status_of(reader.meta.get("project-status"), warnings)
    if not reader.links:
        _check_index(reader, url, project)
    serial = _SERIAL.search(body[-200:])
    withheld = status is ProjectStatus.QUARANTINED
    return ProjectPage(
        project=project,
        name=project,
        api_version=version,
        serial=bounded.serial(serial[1].decode()) if serial else None,
        status=status,
        status_reason=reader.meta.get("project-status-reason"),
        files=() if withheld else reader.collected.files,
        problems=() if withheld else reader.collected.problems,
        warnings=(*warnings, *reader.unused.warnings()),
        partial=reader.collected.is_partial,
        left_out=() if withheld else tuple(reader.collected.left_out),
    )


def _check_index(reader: _Page, url: str, project: str) -> None:
    """Refuse a page without files that nothing shows to be an index.

    An error page of status 200 would otherwise take all files of the project away.
    """
    if reader.meta:
        return
    message = reader.signs.fault(project)
    if not message:
        title = reader.signs.title
        named = project in re.sub(r"[-_.]+", "-", title.lower()) and _INDEX_WORD.search(title)
        if named or _INDEX_TITLE.search(title):
            return
        message = "it has no links to files, and nothing else that shows it to be an index"
    raise unusable(Reason.BAD_PAGE, message, url=url, project=project)


class _Page:
    """Reads the tags of one page."""

    def __init__(self, text: str, url: str, project: str) -> None:
        self.unused = Unused()
        self.collected = Collector(project, self.unused)
        self.meta: dict[str, str] = {}  #: without "pypi:"; of equal ones the first
        self.signs = Signs(text)
        self.links = 0  #: to distributions, usable or not
        self.warnings: list[str] = []
        self._text = text
        self._base = url
        self._has_base = False
        self._project = project

    def read(self, tag: Tag) -> None:
        """Take one tag."""
        self.signs.read(tag)
        match tag.name:
            case "a":
                self._read_link(tag)
            case "meta":
                name = tag.attributes.get("name", "").lower()  # as HTML has it
                if name.startswith("pypi:") and "content" in tag.attributes:
                    self.meta.setdefault(name[5:], tag.attributes["content"].strip())
            case "base" if "href" in tag.attributes and not self._has_base:
                self._has_base = True
                self._set_base(tag.attributes["href"].strip(_SPACE))

    def _set_base(self, href: str) -> None:
        # Only the first counts, and it must stand before all links (HTML standard).
        # It is checked like a link, or a base of "file:" would make files of this machine local.
        try:
            self._base = resolve(href, self._base)
        except RefusedError as error:
            self.warnings.append(f"its base {printable(href)!r} was left out: {error.message}")

    def _read_link(self, tag: Tag) -> None:
        attributes = tag.attributes
        if "href" not in attributes:
            return
        location, _, fragment = attributes["href"].strip(_SPACE).partition("#")
        filename = self._filename(location, tag)
        if not filename:
            return
        self.links += 1
        if self.collected.leaves_out(filename):
            return
        if problem := check_filename(filename, self._project):
            self.collected.refuse_for(problem)
            return
        try:
            self.collected.add(
                File(
                    filename,
                    resolve(location, self._base),
                    fragment_digests(fragment, self.unused) if fragment else {},
                    core_metadata=core_metadata(attributes, self.unused, filename),
                    provenance=self._provenance(attributes),
                    requires_python=requires_python(attributes.get("data-requires-python")),
                    yanked=attributes.get("data-yanked"),
                )
            )
            for name in attributes:
                if name.startswith("data-") and name not in _KNOWN_DATA:
                    self.unused.add(UNKNOWN_KEYS, name)
        except RefusedError as error:
            self.collected.refuse(error.reason, error.message, file=filename, url=location)

    def _filename(self, location: str, tag: Tag) -> str:
        """The name of the distribution that a link leads to; "" where it leads to none."""
        path, asks, _ = location.partition("?")
        name = path.rpartition("/")[2]
        if "%" in name:
            name = unquote(name)  # the one decoding; a second would let "%252e" through
        if is_distribution(name):
            return name
        if (not name and not asks) or name.lower().endswith(_BESIDE):
            return ""
        name = link_text(self._text, tag)
        return name if is_distribution(name) else ""

    def _provenance(self, attributes: dict[str, str]) -> str | None:
        stated = attributes.get("data-provenance")
        return resolve(stated.strip(_SPACE), self._base) if stated else None


def core_metadata(
    attributes: dict[str, str], unused: Unused, filename: str
) -> dict[str, str] | None:
    """What PEP 714 says: the newer spelling counts, where both are there."""
    newer, older = attributes.get("data-core-metadata"), attributes.get("data-dist-info-metadata")
    stated = older if newer is None else newer
    if stated is None:
        return None
    if newer is not None and older is not None and older != newer and "=" in older:
        unused.add(OTHER_METADATA, filename)
    if found := _DIGEST.fullmatch(stated.strip()):
        return metadata_digests({found[1]: found[2]}, unused, filename)
    said = stated.strip().lower()
    if said not in ("true", "false", ""):
        unused.add(BAD_METADATA, filename)
    return {} if said == "true" else None
