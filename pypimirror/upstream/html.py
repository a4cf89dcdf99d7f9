"""Project pages in HTML (PEP 503 and its additions), and older pages of links like them.

This module turns the bytes of such a page into a `ProjectPage`. Not here: the parsing of HTML
(`pypimirror.upstream.markup`), and the rules that all forms share (`pypimirror.upstream.checks`).

A link counts if its path ends with the name of a distribution. If the path does not (links like
"/get?id=1"), it counts if its text is such a name. All other links, such as "../", help pages and
signatures, are skipped silently.

The treatment of each attribute and meta tag. "Refused" and "told" are explained in
`pypimirror.upstream.json`.

========================  ==============================================================
attribute or meta tag     treatment
========================  ==============================================================
href                      used; refused where unsafe. Digests in its fragment are claims; unknown
                          algorithms are told
data-requires-python      used; refused where too long
data-yanked               used: whatever it says, it is a mark
data-core-metadata        used: "true", or a digest; told if it is neither and not "false"
data-dist-info-metadata   the same, if there is no data-core-metadata; told if the two differ
data-gpg-sig              not used: signatures are not mirrored
data-provenance           used; refused where unsafe
any other data-*          told; not passed on, because the HTML form is frozen (PEP 833)
pypi:repository-version   used; another major version is refused with the page
pypi:project-status       used; an unknown one is told
pypi:project-status-reason  used
any other pypi:*          told
SERIAL                    the comment at the end of a page: `bounded.serial`
========================  ==============================================================

A page without such links is a project without files only if its title or its meta tags show that
it is an index, and nothing shows that it is for people (`pypimirror.upstream.people`). Otherwise an
error page would withdraw the project.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from pypimirror.domain import bounded
from pypimirror.domain.filenames import check_filename, is_distribution, printable
from pypimirror.domain.model import File, ProjectPage, ProjectStatus, Reason
from pypimirror.upstream.checks import (
    UNKNOWN_KEYS,
    RefusedError,
    Unused,
    api_version,
    resolve,
    status_of,
    unusable,
    without_credentials,
)
from pypimirror.upstream.claims import (
    BAD_METADATA,
    OTHER_METADATA,
    fragment_digests,
    metadata_digests,
    requires_python,
)
from pypimirror.upstream.collecting import Collector
from pypimirror.upstream.markup import Tag, decode, link_text, tags
from pypimirror.upstream.people import Signs

# Files beside a distribution. The text of their link may be the name of the distribution.
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
# Titles of lists of files: `_INDEX_TITLE` is enough alone, `_INDEX_WORD` only together with the
# project's name.
_INDEX_TITLE = re.compile(
    r"\blinks? (?:for|to)\b|\bindex (?:of|for)\b|\b(?:simple|package|file|directory) index\b"
    r"|\bdirectory(?: listing|:)|\blisting\b|/simple\b"
    r"|\A\W*(?:simple|index|directory|packages|files)\W*\Z",
    re.I,
)
_INDEX_WORD = re.compile(r"\b(?:links?|index|directory|simple|files|packages)\b", re.I)


def parse_page(body: bytes, *, url: str, project: str, charset: str | None = None) -> ProjectPage:
    """Parse a project page.

    `url` is the address of the page after redirects. `project` is the requested `ProjectName`,
    because HTML does not name it. `charset` comes from the content type of the answer. Raises
    `ReadError` if the page cannot be used. A link that cannot be used is a problem of the page.
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
    """Refuse a page without files if nothing shows that it is an index.

    Otherwise an error page with status 200 would remove all files of the project.
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
        self.meta: dict[str, str] = {}  #: names without "pypi:"; the first of equal ones counts
        self.signs = Signs(text)
        self.links = 0  #: to distributions, usable or not
        self.warnings: list[str] = []
        self._text = text
        self._base = url
        self._has_base = False
        self._project = project

    def read(self, tag: Tag) -> None:
        """Read one tag."""
        self.signs.read(tag)
        match tag.name:
            case "a":
                self._read_link(tag)
            case "meta":
                name = tag.attributes.get("name", "").lower()  # HTML ignores case
                if name.startswith("pypi:") and "content" in tag.attributes:
                    self.meta.setdefault(name[5:], tag.attributes["content"].strip())
            case "base" if "href" in tag.attributes and not self._has_base:
                self._has_base = True
                self._set_base(tag.attributes["href"].strip(_SPACE))

    def _set_base(self, href: str) -> None:
        # Only the first base counts, and it must come before all links (HTML standard). It is
        # checked like a link: otherwise a base of "file:" would allow links to local files.
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
        """Return the name of the distribution that a link leads to; "" if there is none."""
        path, asks, _ = location.partition("?")
        name = path.rpartition("/")[2]
        if "%" in name:
            name = unquote(name)  # decode only once: a second time would let "%252e" through
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
    """Return the core metadata of a link by PEP 714: the newer attribute counts if both exist."""
    newer, older = attributes.get("data-core-metadata"), attributes.get("data-dist-info-metadata")
    stated = older if newer is None else newer
    if stated is None:
        return None
    if newer is not None and older is not None and older != newer and "=" in older:
        unused.add(OTHER_METADATA, filename)
    if found := _DIGEST.fullmatch(stated.strip()):
        return metadata_digests({found[1]: found[2]}, unused, filename)
    value = stated.strip().lower()
    if value not in ("true", "false", ""):
        unused.add(BAD_METADATA, filename)
    return {} if value == "true" else None
