"""Project pages in JSON (the simple repository API, PEP 691 and its successors).

Lives here: bytes of such a page to a `ProjectPage`. Does not live here: which form a page has
(`pypimirror.upstream.read`), and the rules that all forms share (`pypimirror.upstream.checks`).

The page is decoded once, without types, as it may hold keys that nobody here knows; types are
then demanded of the page and of each file apart, so that one bad file costs only itself.

What becomes of each key. "Refused" costs the file, and is told as a problem in every run; "told" is
a warning. What is left out is never taken for its absence without a word.

=====================  =================================================================
of the page            what happens to it
=====================  =================================================================
meta                   api-version: used; another major version is refused with the page, and a
                       number is told. Without one it is 1.0, and told: pip takes such a page.
                       Where there is no file either, nothing says that it is a page: refused
                       _last-serial: `bounded.serial`; told where it is none. Others are told.
name                   must be the project's, else the page is refused. Told where there is none,
                       and refused where there is no file either
files                  used; what is no list is refused with the page
versions               passed on; those too long for one are told. No list of texts: the page
                       is refused
project-status         used: an unknown status is told, unknown keys are told. No object with
                       texts: refused with the page, as it may withhold all of it
_*                     the server's own: neither used nor passed on
any other              passed on; told where it cannot be
=====================  =================================================================

=====================  =================================================================
of a file              what happens to it
=====================  =================================================================
filename               used; refused where unsafe, another project's, or no text. Wheels of
                       variants and their variants.json are left out (`filenames.is_variant`)
url                    used; refused where unsafe or no text. Digests in its fragment are
                       claims like those in hashes: both must be met
hashes                 used; refused where a digest is none of its algorithm, or the types are
                       wrong. Unknown algorithms are told
requires-python        used; refused where it is no text, or too long
core-metadata          used; wrong digests are told, wrong types refused
dist-info-metadata     the same, where there is no core-metadata; told where that says otherwise
data-dist-info-metadata  the same, where there is neither
gpg-sig                not used: signatures are not mirrored
yanked                 used: true and any text, the empty one too, are a mark. Other types: refused
size                   used; refused where it is no number of bytes that a file can have
upload-time            used, in UTC; told where it is no moment
provenance             used; refused where unsafe or no text
_*                     the server's own: neither used nor passed on
any other              passed on; told where it cannot be
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
    OTHER_METADATA,
    UNKNOWN_KEYS,
    Collector,
    RefusedError,
    Unused,
    api_version,
    digests_of,
    fragment_digests,
    metadata_digests,
    requires_python,
    resolve,
    status_of,
    united,
    unusable,
    without_credentials,
)

#: Most commas in a page, and so values: ten times more than the largest project has. Without
#: it, 64 MB of "[],[],[]" would take gigabytes of memory.
MAX_COMMAS = 8_000_000

#: Deepest nesting of a key that is only passed on.
MAX_DEPTH = 16

#: Sizes in bytes; as a float, as some languages write any number, it must be a whole one.
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
    yanked: bool | str | None = None  # type: ignore[assignment]  # true is a mark, too
    size: _Size | _Float | None = None
    upload_time: Any = None
    provenance: str | None = None


_RULED = {"upload_time", "requires_python", "yanked"}
# Signatures are known and not passed on: they are not mirrored.
_FILE_KEYS = {*(field.encode_name for field in msgspec.structs.fields(_File)), "gpg-sig"}
#: Details that are passed on as they are: the others have a rule here.
_AS_THEY_ARE = [name for name in DETAILS if name not in _RULED]
_PAGE_KEYS = {*(field.encode_name for field in msgspec.structs.fields(_Page)), "meta"}
_META_KEYS, _STATUS_KEYS = {"api-version"}, {"status", "reason"}


def parse_page(body: bytes, *, url: str, project: str) -> ProjectPage:
    """Read a project page.

    `url` is where the page was found, after redirects; links are relative to it. `project` is
    the `ProjectName` that was asked for. Raises `ReadError` where the page cannot be used; a file
    that cannot be used is a problem of the page.
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
            message = "it says neither whose page it is nor has it files"
            raise unusable(Reason.BAD_PAGE, message, url=url, project=project)
        name = project
        warnings.append("it does not say whose it is")
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
    """The object that a body holds. Raises `ReadError` with BAD_PAGE."""
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
    """Decode what has a number in it that is beyond all use: it must cost only what it stands in.

    Such a number is infinite here. Raises `ValueError`.
    """

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no number")

    def whole(digits: str) -> int | float:
        return int(digits) if len(digits) < 20 else float("inf")

    found = json.loads(text, parse_int=whole, parse_constant=refuse)
    if not isinstance(found, dict):
        raise ValueError(f"it is a {type(found).__name__}")
    return found


def _versions(stated: list[str], unused: Unused) -> tuple[str, ...]:
    """Return the versions that can be any; whoever parses the others may fail at them."""
    kept = tuple(version for version in stated if len(version) <= bounded.MAX_VERSION)
    for version in stated if len(kept) < len(stated) else ():
        if len(version) > bounded.MAX_VERSION:
            unused.add("versions are too long for any and were left out", version)
    return kept


def tell_unknown(item: Any, known: set[str], unused: Unused) -> None:
    """Note the keys of an object that nobody here knows, and that cannot be passed on."""
    if isinstance(item, dict):
        for key in item.keys() - known:
            if not key.startswith("_"):
                unused.add(UNKNOWN_KEYS, key)


def read_meta(
    document: dict[str, Any], content: str, *, url: str, project: str = ""
) -> tuple[tuple[int, int], tuple[str, ...], int | None]:
    """API version, warnings and serial of a page or a list. Raises `ReadError`.

    `content` is the key of what it is there for. What states no version and has nothing of that
    either may be anything: taking it for an empty page would mean that all files are gone.
    """
    meta = document.get("meta")
    try:
        stated = msgspec.convert({} if meta is None else meta, _Meta)
    except msgspec.ValidationError as error:
        message = f"{error} of meta; this is no answer of a simple API"
        raise unusable(Reason.BAD_PAGE, message, url=url, project=project) from None
    text = "1.0" if stated.api_version is None else stated.api_version
    told = []
    if not isinstance(text, str):  # as a server writes it that is careless, and pip takes
        text = str(float(text) if abs(text) < 100 else text)
        told.append("its API version is a number, not text")
    version, warnings = api_version(text or "1.0", url=url, project=project)
    told.extend(warnings)
    if stated.api_version is None and not document.get(content):
        message = f"it states no API version and has no {content}; this is no answer of an index"
        raise unusable(Reason.BAD_PAGE, message, url=url, project=project)
    if stated.api_version is None:
        told.append("it states no API version, and is taken for 1.0")
    unused = Unused()
    tell_unknown(meta, _META_KEYS, unused)
    told.extend(unused.warnings())
    value = meta.get("_last-serial") if isinstance(meta, dict) else None
    serial = bounded.serial(value)
    if serial is None and value not in (None, 0, "0"):
        told.append("its serial is not a number that can be one, and was left out")
    return version, tuple(told), serial


class _Files:
    """Reads the files of one page."""

    def __init__(self, project: str, url: str, has_nul: bool, unused: Unused) -> None:
        self.collected = Collector(project, unused)
        self._unused = unused
        self._project = project
        self._url = url
        self._has_nul = has_nul

    def read(self, item: Any) -> None:
        """Take one entry of `files`, or note why not."""
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
        """Core metadata as `File` has it: digests, {} where offered without, None where not."""
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
            # Older spellings may say less, as a server that knows of no digests does.
            if isinstance(first, dict) and isinstance(other, dict) and other != first:
                self._unused.add(OTHER_METADATA, stated.filename)
        if isinstance(first, dict):
            return metadata_digests(first, self._unused, stated.filename)
        return {} if first else None

    def unknown(self, item: dict[str, Any], known: set[str]) -> dict[str, Any]:
        """The keys of an object that are not known, but can be passed on."""
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
    """A yank as `File` has it. Every text is one: devpi writes "" for a yank without a reason."""
    if isinstance(stated, str):
        return stated
    return "" if stated else None


def _can_be_kept(value: Any, depth: int = 0) -> bool:
    """Whether a value survives storing and writing it.

    PostgreSQL holds no NUL characters, and nesting beyond all use may end in a RecursionError
    in whoever writes or reads it next.
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
