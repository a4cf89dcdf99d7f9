"""Project pages in JSON (the simple repository API, PEP 691 and its successors).

This module turns the bytes of such a page into a `ProjectPage`. Not here: how its form is detected
(`pypimirror.upstream.read`), and the rules for all forms (`pypimirror.upstream.checks`).

The page is decoded once, without types, because it may have unknown keys. Then the page and each
file are checked against their types separately, so that one bad file does not affect the others.

The treatment of each key. "Refused": the file is not used, and every run reports it as a problem.
"Told": a warning. A value that is left out never counts silently as missing.

=====================  =================================================================
of the page            treatment
=====================  =================================================================
meta                   api-version: used; another major version is refused with the page, and a
                       number is told. Without one it is 1.0, and told: pip accepts such pages.
                       Without files too, nothing shows that it is a page: refused
                       _last-serial: `bounded.serial`; told if it is not valid. Others are told.
name                   must be the project's, else the page is refused. Told if it is missing,
                       and refused if there are no files either
files                  used; the page is refused if it is not a list
versions               passed on; too long ones are told. The page is refused if it is not a
                       list of texts
project-status         used: an unknown status and unknown keys are told. The page is refused if
                       it is not an object with texts, because it may withhold all files
_*                     the server's own: neither used nor passed on
any other              passed on; told if that is not possible
=====================  =================================================================

=====================  =================================================================
of a file              treatment
=====================  =================================================================
filename               used; refused if unsafe, of another project, or not a text. Wheels of
                       variants and their variants.json are left out (`filenames.is_variant`)
url                    used; refused if unsafe or not a text. Digests in its fragment are
                       claims like those in hashes: the file must match both
hashes                 used; refused if a digest does not fit its algorithm, or a type is
                       wrong. Unknown algorithms are told
requires-python        used; refused if it is not a text, or too long
core-metadata          used; wrong digests are told, wrong types refused
dist-info-metadata     the same, if there is no core-metadata; told if the two differ
data-dist-info-metadata  the same, if there is neither
gpg-sig                not used: signatures are not mirrored
yanked                 used: true and any text, even an empty one, mean yanked. Other types:
                       refused
size                   used; refused if it is not a possible size in bytes
upload-time            used, in UTC; told if it is not a time
provenance             used; refused if unsafe or not a text
_*                     the server's own: neither used nor passed on
any other              passed on; told if that is not possible
=====================  =================================================================
"""

from __future__ import annotations

import json
from math import isfinite
from typing import Annotated, Any

import msgspec
from packaging.utils import canonicalize_name

from pypimirror.domain import bounded, moments
from pypimirror.domain.filenames import check_filename, printable
from pypimirror.domain.model import (
    DETAILS,
    File,
    FileDetails,
    ProjectPage,
    ProjectStatus,
    Reason,
)
from pypimirror.upstream.checks import (
    BAD_TIMES,
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
    OTHER_METADATA,
    digests_of,
    fragment_digests,
    metadata_digests,
    requires_python,
    united,
)
from pypimirror.upstream.collecting import Collector

#: Most commas, and so values, in a page: ten times more than in the largest project. Without this
#: limit, 64 MB of "[],[],[]" would take gigabytes of memory.
MAX_COMMAS = 8_000_000

#: Deepest nesting of a value that is only passed on.
MAX_DEPTH = 16

#: Sizes in bytes. Some languages write every number as a float: then it must be a whole number.
_Size = Annotated[int, msgspec.Meta(ge=0, le=bounded.MAX_SIZE)]
_Float = Annotated[float, msgspec.Meta(ge=0, le=bounded.MAX_SIZE, multiple_of=1)]

_Metadata = bool | dict[str, str] | None


class _Meta(msgspec.Struct, rename="kebab"):
    api_version: str | int | float | None = None


class _Status(msgspec.Struct):
    status: str | None = None
    reason: str | None = None


class _Page(msgspec.Struct, rename="kebab"):
    files: list[Any]
    name: str | msgspec.UnsetType = msgspec.UNSET
    versions: list[str] | None = None
    project_status: _Status | None = None


class _File(FileDetails, frozen=True, kw_only=True):
    filename: str
    url: str
    hashes: dict[str, str] | None = None
    core_metadata: _Metadata = None
    dist_info_metadata: _Metadata = None
    data_dist_info_metadata: _Metadata = None
    yanked: bool | str | None = None  # type: ignore[assignment]  # true means yanked, too
    size: _Size | _Float | None = None
    upload_time: Any = None
    provenance: str | None = None


_RULED = {"upload_time", "requires_python", "yanked"}
# Signatures are known and not passed on: they are not mirrored.
_FILE_KEYS = {*(field.encode_name for field in msgspec.structs.fields(_File)), "gpg-sig"}
#: Details that are passed on unchanged. The others have a rule here.
_AS_THEY_ARE = [name for name in DETAILS if name not in _RULED]
_PAGE_KEYS = {*(field.encode_name for field in msgspec.structs.fields(_Page)), "meta"}
_META_KEYS, _STATUS_KEYS = {"api-version"}, {"status", "reason"}


def parse_page(body: bytes, *, url: str, project: str) -> ProjectPage:
    """Parse a project page.

    `url` is the address of the page after redirects; links are relative to it. `project` is the
    requested `ProjectName`. Raises `ReadError` if the page cannot be used. A file that cannot be
    used is a problem of the page.
    """
    document = decode(body, url=url, project=project)
    version, warned, serial = read_meta(document, "files", url=url, project=project)
    unused = Unused()
    try:
        page = msgspec.convert(document, _Page)
    except msgspec.ValidationError as error:
        raise unusable(Reason.BAD_PAGE, f"{error}", url=url, project=project) from None
    warnings = list(warned)
    name = page.name
    if isinstance(name, msgspec.UnsetType):
        if not page.files:
            message = "it has neither the name of a project nor files"
            raise unusable(Reason.BAD_PAGE, message, url=url, project=project)
        name = project
        warnings.append("it does not name its project")
    if not name.isascii() or canonicalize_name(name) != project:
        message = f"the page of {project} is about {printable(name)!r}"
        raise unusable(Reason.WRONG_PROJECT, message, url=url, project=project)
    has_nul = b"\\u0000" in body
    if has_nul and not _can_be_kept([page.versions, document.get("project-status")]):
        message = "it has a NUL character in its versions or its status"
        raise unusable(Reason.BAD_PAGE, message, url=url, project=project)

    stated = page.project_status or _Status()
    status = status_of(stated.status, warnings)
    tell_unknown(document.get("project-status"), _STATUS_KEYS, unused)
    reader = _Files(project, without_credentials(url), has_nul, unused)
    if status is not ProjectStatus.QUARANTINED:
        for item in page.files:
            reader.read(item)
    extra = reader.unknown(document, _PAGE_KEYS)
    return ProjectPage(
        project=project,
        name=name,
        api_version=version,
        serial=serial,
        status=status,
        status_reason=stated.reason,
        versions=None if page.versions is None else _versions(page.versions, unused),
        files=reader.collected.files,
        extra=extra,
        problems=reader.collected.problems,
        warnings=(*warnings, *unused.warnings()),
        partial=reader.collected.is_partial,
        left_out=tuple(reader.collected.left_out),
    )


def decode(body: bytes, *, url: str, project: str = "") -> dict[str, Any]:
    """Return the JSON object in a body. Raises `ReadError` with BAD_PAGE."""
    if len(body) > MAX_COMMAS and body.count(b",") > MAX_COMMAS:
        message = f"it has more than {MAX_COMMAS} values"
        raise unusable(Reason.BAD_PAGE, message, url=url, project=project)
    text = body.removeprefix(b"\xef\xbb\xbf")
    try:
        try:
            return msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.ValidationError:
            return _with_endless_numbers(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        message = f"it is not a JSON object ({error})"
        raise unusable(Reason.BAD_PAGE, message, url=url, project=project) from None


def _with_endless_numbers(text: bytes) -> dict[str, Any]:
    """Decode JSON with a number that is too large: only the value with this number must suffer.

    Such a number becomes infinite. Raises `ValueError`.
    """

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not a number")

    def whole(digits: str) -> int | float:
        return int(digits) if len(digits) < 20 else float("inf")

    found = json.loads(text, parse_int=whole, parse_constant=refuse)
    if not isinstance(found, dict):
        raise ValueError(f"it is a {type(found).__name__}")
    return found


def _versions(stated: list[str], unused: Unused) -> tuple[str, ...]:
    """Return the versions that are not too long: other programs may fail on longer ones."""
    kept = tuple(version for version in stated if len(version) <= bounded.MAX_VERSION)
    for version in stated if len(kept) < len(stated) else ():
        if len(version) > bounded.MAX_VERSION:
            unused.add("versions are too long and were left out", version)
    return kept


def tell_unknown(item: Any, known: set[str], unused: Unused) -> None:
    """Note the unknown keys of an object that cannot be passed on."""
    if isinstance(item, dict):
        for key in item.keys() - known:
            if not key.startswith("_"):
                unused.add(UNKNOWN_KEYS, key)


def read_meta(
    document: dict[str, Any], content: str, *, url: str, project: str = ""
) -> tuple[tuple[int, int], tuple[str, ...], int | None]:
    """Return API version, warnings and serial of a page or a list. Raises `ReadError`.

    `content` is the key of the main content. A document with neither a version nor content may be
    anything: if it counted as an empty page, all files would be removed.
    """
    meta = document.get("meta")
    try:
        stated = msgspec.convert({} if meta is None else meta, _Meta)
    except msgspec.ValidationError as error:
        message = f"{error} in meta; this is not an answer of a simple API"
        raise unusable(Reason.BAD_PAGE, message, url=url, project=project) from None
    text = "1.0" if stated.api_version is None else stated.api_version
    warned = []
    if not isinstance(text, str):  # some servers write it so, and pip accepts it
        text = str(float(text) if abs(text) < 100 else text)
        warned.append("its API version is a number, not text")
    version, warnings = api_version(text or "1.0", url=url, project=project)
    warned.extend(warnings)
    if stated.api_version is None and not document.get(content):
        message = f"it has neither an API version nor {content}; this is not an answer of an index"
        raise unusable(Reason.BAD_PAGE, message, url=url, project=project)
    if stated.api_version is None:
        warned.append("it states no API version; 1.0 is assumed")
    unused = Unused()
    tell_unknown(meta, _META_KEYS, unused)
    warned.extend(unused.warnings())
    value = meta.get("_last-serial") if isinstance(meta, dict) else None
    serial = bounded.serial(value)
    if serial is None and value not in (None, 0, "0"):
        warned.append("its serial is not valid and was left out")
    return version, tuple(warned), serial


class _Files:
    """Reads the files of one page."""

    def __init__(self, project: str, url: str, has_nul: bool, unused: Unused) -> None:
        self.collected = Collector(project, unused)
        self._unused = unused
        self._project = project
        self._url = url
        self._has_nul = has_nul

    def read(self, item: Any) -> None:
        """Read one entry of `files`, or note why it cannot be used."""
        try:
            stated = msgspec.convert(item, _File)
        except msgspec.ValidationError as error:
            name = item.get("filename") if isinstance(item, dict) else None
            self.collected.refuse(
                Reason.BAD_PAGE, f"{error}", file=name if isinstance(name, str) else ""
            )
            return
        if self.collected.leaves_out(stated.filename):
            return
        if problem := check_filename(stated.filename, self._project):
            self.collected.refuse_for(problem)
            return
        try:
            self.collected.add(self._file(stated, item))
        except RefusedError as error:
            self.collected.refuse(error.reason, error.message, file=stated.filename, url=stated.url)

    def _file(self, stated: _File, item: dict[str, Any]) -> File:
        if self._has_nul and not _can_be_kept([item.get(key) for key in _FILE_KEYS]):
            raise RefusedError(Reason.BAD_PAGE, "it has a NUL character in one of its values")
        location, _, fragment = stated.url.partition("#")
        digests = digests_of(stated.hashes, self._unused) if stated.hashes else {}
        if fragment:
            digests = united(digests, fragment_digests(fragment, self._unused))
        uploaded = moments.in_utc(stated.upload_time)
        if uploaded is None and stated.upload_time is not None:
            self._unused.add(BAD_TIMES, stated.filename)
        return File(
            stated.filename,
            resolve(location, self._url),
            digests,
            None if stated.size is None else int(stated.size),
            self._core_metadata(stated),
            resolve(stated.provenance, self._url) if stated.provenance else None,
            self.unknown(item, _FILE_KEYS) if not item.keys() <= _FILE_KEYS else {},
            upload_time=uploaded,
            requires_python=requires_python(stated.requires_python),
            yanked=_yank(stated.yanked),
            **{name: getattr(stated, name) for name in _AS_THEY_ARE},
        )

    def _core_metadata(self, stated: _File) -> dict[str, str] | None:
        """Return the core metadata for `File`: its digests, {} without a digest, None if not
        offered.
        """
        spelled = (
            stated.core_metadata,
            stated.dist_info_metadata,
            stated.data_dist_info_metadata,
        )
        claims = [claim for claim in spelled if claim is not None]
        if not claims:
            return None
        first = claims[0]
        for other in claims[1:]:
            # Older keys may have no digest, because an older server wrote them.
            if isinstance(first, dict) and isinstance(other, dict) and other != first:
                self._unused.add(OTHER_METADATA, stated.filename)
        if isinstance(first, dict):
            return metadata_digests(first, self._unused, stated.filename)
        return {} if first else None

    def unknown(self, item: dict[str, Any], known: set[str]) -> dict[str, Any]:
        """Return the unknown keys of an object that can be passed on."""
        extra = {}
        for key, value in item.items():
            if key in known or key.startswith("_"):
                continue
            if _can_be_kept([key, value]):
                extra[key] = value
            else:
                self._unused.add("values that cannot be passed on were left out", key)
        return extra


def _yank(stated: bool | str | None) -> str | None:
    """Return a yank for `File`. Any text is one: devpi writes "" for a yank without a reason."""
    if isinstance(stated, str):
        return stated
    return "" if stated else None


def _can_be_kept(value: Any, depth: int = 0) -> bool:
    """Whether a value can be stored and written again.

    PostgreSQL stores no NUL, and extreme nesting causes a RecursionError in the next reader.
    """
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, float):
        return isfinite(value)
    if not isinstance(value, dict | list):
        return True
    if depth > MAX_DEPTH:
        return False
    if isinstance(value, dict) and not all("\0" not in key for key in value):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return all(_can_be_kept(each, depth + 1) for each in inner)
