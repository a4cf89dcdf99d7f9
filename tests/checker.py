"""An independent check of a mirror root: does it keep promises 1 to 3, whoever wrote it?

It reads only the tree, never the catalog, and shares no code with the program. `check` returns one
line of text for each fault; an empty list means a sound mirror.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

FORMS = {"html": "index.html", "json": "index.v1_json"}


class Links(HTMLParser):
    """The links of a page with their attributes, and whether the page is whole."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[tuple[dict[str, str | None], str]] = []
        self._open: dict[str, str | None] | None = None
        self._text = ""
        self.whole = "</html>" in text
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self._open, self._text = dict(attrs), ""

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._open is not None:
            self.links.append((self._open, self._text))
            self._open = None


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def check(root: Path, *, agree: bool = True, upstreams: Sequence[str] = ()) -> list[str]:
    """Return all faults of the mirror at `root`.

    `agree` demands that the two forms of each page say the same. They must while no run is under
    way; a run replaces each form in one step, but not both together. Links may lead out of the
    mirror only to addresses that begin with one of `upstreams`, and only with a sha256.
    """
    return list(_check(root, agree, upstreams))


def _check(root: Path, agree: bool, upstreams: Sequence[str]) -> Iterator[str]:
    simple = root / "simple"
    if not simple.is_dir():
        return
    listed = {form: set(_root(simple, form)) for form in FORMS if (simple / FORMS[form]).exists()}
    for form, names in listed.items():
        for name in names:
            if name.startswith("!"):
                yield name
            elif not (simple / name / FORMS[form]).is_file():
                yield f"root {form} lists {name}, and there is no page of it"
    if agree and len(listed) == 2 and listed["html"] != listed["json"]:
        yield f"root indexes disagree: {listed}"
    for directory in sorted(path for path in simple.iterdir() if path.is_dir()):
        yield from _project(root, directory, agree, upstreams)
        for names in listed.values() if agree else ():
            if directory.name not in names:
                yield f"simple/{directory.name} is there, and a root index does not list it"


def _root(simple: Path, form: str) -> Iterator[str]:
    text = (simple / FORMS[form]).read_text()
    if form == "json":
        document = json.loads(text)
        for project in document["projects"]:
            yield normalized(project["name"])
        return
    page = Links(text)
    if not page.whole:
        yield "!root html is cut off"
    for attributes, name in page.links:
        href = attributes["href"] or ""
        if href != f"{normalized(name)}/":
            yield f"!root html links {name} to {href}"
        yield href.rstrip("/")


def _project(root: Path, directory: Path, agree: bool, upstreams: Sequence[str]) -> Iterator[str]:
    said: dict[str, dict[str, str]] = {}
    away: dict[str, dict[str, str]] = {form: {} for form in FORMS}
    for form, name in FORMS.items():
        page = directory / name
        if not page.exists():
            continue
        said[form] = {}
        try:
            files = list((_json if form == "json" else _html)(page.read_text()))
        except (ValueError, KeyError) as error:
            yield f"{page}: cannot be read: {error!r}"
            continue
        for filename, url, sha256, metadata, provenance in files:
            if filename in said[form]:
                yield f"{page}: {filename} twice"
            said[form][filename] = sha256
            if any(url.startswith(upstream) for upstream in upstreams):
                away[form][filename] = url
                yield from _elsewhere(directory, filename, url, sha256)
                continue
            yield from _file(root, page, filename, url, sha256, metadata)
            if provenance:
                yield from _provenance(root, page, filename, url, sha256, provenance)
    if len(said) == 2:
        for filename in said["html"].keys() & said["json"].keys():
            if said["html"][filename] != said["json"][filename]:
                yield f"{directory.name}: {filename}: HTML and JSON have different digests"
        if agree and said["html"] != said["json"]:
            yield f"{directory.name}: HTML and JSON disagree: {said}"
        if agree and away["html"] != away["json"]:
            yield f"{directory.name}: HTML and JSON lead away to different places: {away}"


def _elsewhere(directory: Path, filename: str, url: str, sha256: str) -> Iterator[str]:
    """Check a link out of the mirror: it has a digest, so that clients can check, and no login."""
    where = f"{directory.name}: {filename}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or "@" in parts.netloc or parts.fragment:
        yield f"{where}: its link leads to no plain address: {url}"
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        yield f"{where}: its sha256 is none: {sha256}"


def _json(text: str) -> Iterator[tuple[str, str, str, str | None, str | None]]:
    for file in json.loads(text)["files"]:
        claim, sha256 = file.get("core-metadata"), file["hashes"]["sha256"]
        metadata = claim and claim["sha256"]
        yield file["filename"], file["url"], sha256, metadata, file.get("provenance")


def _html(text: str) -> Iterator[tuple[str, str, str, str | None, str | None]]:
    page = Links(text)
    if not page.whole:
        raise ValueError("it is cut off")
    for attributes, filename in page.links:
        url, fragment = urldefrag(attributes["href"] or "")
        claim = attributes.get("data-core-metadata")
        if not fragment.startswith("sha256="):
            raise ValueError(f"{filename} has no sha256")
        metadata = claim and claim.removeprefix("sha256=")
        yield filename, url, fragment[7:], metadata, attributes.get("data-provenance")


def _file(
    root: Path, page: Path, filename: str, url: str, sha256: str, metadata: str | None
) -> Iterator[str]:
    where = f"{page.parent.name}/{page.name}: {filename}"
    if re.match(r"[a-z][a-z0-9+.-]*:|/", url, re.I):
        yield f"{where}: its link is not relative: {url}"
        return
    base = f"http://mirror/a/b/{page.relative_to(root)}"
    address = urljoin(base, url)
    if not address.startswith("http://mirror/a/b/packages/"):
        yield f"{where}: its link leaves the packages: {url}"
        return
    path = root / unquote(address.removeprefix("http://mirror/a/b/"))
    if path.name != filename or not path.is_file() or path.is_symlink():
        yield f"{where}: its link leads to no such file: {url}"
        return
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        yield f"{where}: its bytes are not what the page says"
    if metadata:
        beside = path.with_name(path.name + ".metadata")
        if not beside.is_file():
            yield f"{where}: its metadata is announced and not there"
        elif hashlib.sha256(beside.read_bytes()).hexdigest() != metadata:
            yield f"{where}: its metadata is not what the page says"


def _provenance(
    root: Path, page: Path, filename: str, url: str, sha256: str, provenance: str
) -> Iterator[str]:
    """Check that a page links to the mirror's own copy, which is about the file's bytes."""
    where = f"{page.parent.name}/{page.name}: {filename}"
    if provenance != f"{url}.provenance":
        yield f"{where}: its provenance is not beside it: {provenance}"
        return
    path = page.parent / unquote(provenance)
    if not path.is_file():
        yield f"{where}: its provenance is announced and not there"
        return
    try:
        subjects = list(_subjects(json.loads(path.read_bytes())))
    except ValueError as error:
        yield f"{where}: its provenance cannot be read: {error}"
        return
    if subjects != [sha256] * len(subjects):
        yield f"{where}: its provenance is of other bytes"


def _subjects(provenance: dict[str, Any]) -> Iterator[str]:
    """Return the digests of a provenance's subjects."""
    for bundle in provenance["attestation_bundles"]:
        for attestation in bundle["attestations"]:
            statement = json.loads(b64decode(attestation["envelope"]["statement"]))
            yield from (subject["digest"]["sha256"] for subject in statement["subject"])
