"""Project pages in JSON (the simple repository API, PEP 691 and its successors).

Lives here: bytes of such a page to a `ProjectPage`. Does not live here: which form a page has
(`pypimirror.upstream.read`), and the rules that all forms share (`pypimirror.upstream.checks`).

The page is decoded once, without types, as it may hold keys that nobody here knows; types are
then demanded of the page and of each file apart, so that one bad file costs only itself.

Of `meta`, only the version and PyPI's serial are kept: the rest is about the answer and not about
the project, and a mirror writes its own.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec
from packaging.utils import canonicalize_name

from pypimirror.filenames import check_filename, printable
from pypimirror.model import File, ProjectPage, ProjectStatus, Reason
from pypimirror.upstream.checks import (
    Collector,
    RefusedError,
    api_version,
    digests_of,
    resolve,
    status_of,
    unusable,
    without_credentials,
)

#: Most commas in a page, and so values: ten times more than the largest project has. Without
#: it, 64 MB of "[],[],[]" would take gigabytes of memory.
MAX_COMMAS = 8_000_000

#: Deepest nesting of a key that is only passed on.
MAX_DEPTH = 16

#: Integers that the catalog can hold.
Natural = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

_UPLOAD_TIME = re.compile(
    r"[0-9]{4}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9](?::[0-6][0-9](?:\.[0-9]{1,9})?)?"
    r"(?:Z|[+-][0-9]{2}:?[0-9]{2})?"
)

_Metadata = bool | dict[str, str] | None


class _Meta(msgspec.Struct, rename="kebab"):
    api_version: str


class _Status(msgspec.Struct):
    status: str | None = None
    reason: str | None = None


class _Page(msgspec.Struct, rename="kebab"):
    name: str
    files: list[Any]
    versions: list[str] | None = None
    project_status: _Status | None = None


class _File(msgspec.Struct, rename="kebab"):
    filename: str
    url: str
    hashes: dict[str, str] | None = None
    requires_python: str | None = None
    core_metadata: _Metadata = None
    dist_info_metadata: _Metadata = None
    data_dist_info_metadata: _Metadata = None
    yanked: bool | str | None = None
    size: Natural | None = None
    upload_time: str | None = None
    provenance: str | None = None


# Signatures are known and not passed on: they are not mirrored.
_FILE_KEYS = {*(field.encode_name for field in msgspec.structs.fields(_File)), "gpg-sig"}
_PAGE_KEYS = {*(field.encode_name for field in msgspec.structs.fields(_Page)), "meta"}


def parse_page(body: bytes, *, url: str, project: str) -> ProjectPage:
    """Read a project page.

    `url` is where the page was found, after redirects; links are relative to it. `project` is
    the `ProjectName` that was asked for. Raises `ReadError` where the page cannot be used; a file
    that cannot be used is a problem of the page.
    """
    document = decode(body, url=url, project=project)
    version, warned, serial = read_meta(document, url=url, project=project)
    try:
        page = msgspec.convert(document, _Page)
    except msgspec.ValidationError as error:
        raise unusable(Reason.BAD_PAGE, f"{error}", url=url, project=project) from None
    if not page.name.isascii() or canonicalize_name(page.name) != project:
        message = f"the page of {project} is about {printable(page.name)!r}"
        raise unusable(Reason.WRONG_PROJECT, message, url=url, project=project)
    has_nul = b"\\u0000" in body
    if has_nul and not _can_be_kept([page.versions, document.get("project-status")]):
        message = "it has a NUL character in its versions or its status"
        raise unusable(Reason.BAD_PAGE, message, url=url, project=project)

    warnings = list(warned)
    stated = page.project_status or _Status()
    status = status_of(stated.status, warnings)
    reader = _Files(project, without_credentials(url), has_nul)
    if status is not ProjectStatus.QUARANTINED:
        for item in page.files:
            reader.read(item)
    extra = reader.unknown(document, _PAGE_KEYS)
    return ProjectPage(
        project=project,
        name=page.name,
        api_version=version,
        serial=serial,
        status=status,
        status_reason=stated.reason,
        versions=None if page.versions is None else tuple(page.versions),
        files=reader.collected.files,
        extra=extra,
        problems=reader.collected.problems,
        warnings=(*warnings, *reader.warnings),
        partial=reader.collected.is_partial,
    )


def decode(body: bytes, *, url: str, project: str = "") -> dict[str, Any]:
    """The object that a body holds. Raises `ReadError` with BAD_PAGE."""
    if len(body) > MAX_COMMAS and body.count(b",") > MAX_COMMAS:
        message = f"it has more than {MAX_COMMAS} values"
        raise unusable(Reason.BAD_PAGE, message, url=url, project=project)
    try:
        return msgspec.json.decode(body.removeprefix(b"\xef\xbb\xbf"), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        message = f"it is not a JSON object ({error})"
        raise unusable(Reason.BAD_PAGE, message, url=url, project=project) from None


def read_meta(
    document: dict[str, Any], *, url: str, project: str = ""
) -> tuple[tuple[int, int], tuple[str, ...], int | None]:
    """API version, warnings and serial of a page or a list. Raises `ReadError`."""
    meta = document.get("meta")
    try:
        stated = msgspec.convert(meta, _Meta)
    except msgspec.ValidationError as error:
        message = f"{error} of meta; this is no answer of a simple API"
        raise unusable(Reason.BAD_PAGE, message, url=url, project=project) from None
    version, warnings = api_version(stated.api_version, url=url, project=project)
    serial = meta.get("_last-serial") if isinstance(meta, dict) else None
    try:
        return version, warnings, msgspec.convert(serial, Natural | None)
    except msgspec.ValidationError:
        return version, (*warnings, "its serial is not a number and was left out"), None


class _Files:
    """Reads the files of one page."""

    def __init__(self, project: str, url: str, has_nul: bool) -> None:
        self.collected = Collector(project)
        self._project = project
        self._url = url
        self._has_nul = has_nul
        self._bad_times = 0
        self._dropped_keys: set[str] = set()

    @property
    def warnings(self) -> list[str]:
        """What was left out of files that were taken."""
        warnings = []
        if self._bad_times:
            warnings.append(f"{self._bad_times} upload times are not ISO 8601 and were left out")
        if self._dropped_keys:
            names = ", ".join(sorted(printable(key, 40) for key in self._dropped_keys)[:5])
            warnings.append(f"values that cannot be passed on were left out, of: {names}")
        return warnings

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
        url = resolve(stated.url, self._url)
        metadata = stated.core_metadata
        if metadata is None:
            metadata = stated.dist_info_metadata
        if metadata is None:
            metadata = stated.data_dist_info_metadata
        yanked = stated.yanked
        uploaded = stated.upload_time
        if uploaded is not None and not _UPLOAD_TIME.fullmatch(uploaded):
            self._bad_times += 1
            uploaded = None
        return File(
            stated.filename,
            url,
            digests_of(stated.hashes) if stated.hashes else {},
            stated.size,
            uploaded,
            stated.requires_python or None,
            # A reason must not be empty here (PEP 691): "" is as false as false.
            ("" if yanked is True else yanked) if yanked else None,
            core_metadata_of(metadata),
            resolve(stated.provenance, self._url) if stated.provenance else None,
            self.unknown(item, _FILE_KEYS) if not item.keys() <= _FILE_KEYS else {},
        )

    def unknown(self, item: dict[str, Any], known: set[str]) -> dict[str, Any]:
        """The keys of an object that are not known, but can be passed on."""
        extra = {}
        for key, value in item.items():
            if key in known or key.startswith("_"):
                continue
            if _can_be_kept([key, value]):
                extra[key] = value
            else:
                self._dropped_keys.add(key)
        return extra


def core_metadata_of(stated: _Metadata) -> dict[str, str] | None:
    """Core metadata as `File` has it: digests, {} where offered without, None where not."""
    if stated is None or stated is False:
        return None
    return {} if stated is True else digests_of(stated)


def _can_be_kept(value: Any, depth: int = 0) -> bool:
    """Whether a value survives storing and writing it.

    PostgreSQL holds no NUL characters, and nesting beyond all use may end in a RecursionError
    in whoever writes or reads it next.
    """
    if isinstance(value, str):
        return "\0" not in value
    if not isinstance(value, dict | list):
        return True
    if depth > MAX_DEPTH:
        return False
    if isinstance(value, dict) and not all("\0" not in key for key in value):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return all(_can_be_kept(each, depth + 1) for each in inner)
