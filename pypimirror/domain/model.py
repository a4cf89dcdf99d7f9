"""The domain: the data of upstreams, as types. No I/O, no SQL, no HTTP.

Data of an upstream is parsed into these types once, in `pypimirror.upstream`. All other code may
rely on their invariants:

* a `File.filename` is safe as one component of a path, and belongs to its project;
* `File.digests` has only known algorithms, with lower-case hex of the right length;
* a URL is absolute, and http, https or file.

Unknown keys are kept in `extra` and passed on.
"""

from __future__ import annotations

from enum import StrEnum
from operator import attrgetter
from typing import Any, NewType

import msgspec

from pypimirror.domain.errors import PypimirrorError as PypimirrorError

#: A project name that `packaging.utils.canonicalize_name` has returned.
ProjectName = NewType("ProjectName", str)

#: Highest version of the simple API that this program writes (PEP 792).
NEWEST_API: tuple[int, int] = (1, 4)

#: Digest algorithms, strongest first, with the length of their digests in bytes. The names are
#: hashlib's, as the simple API demands; `blake2b` is the 64-byte form, and `blake2b_256` the
#: 32-byte form that PyPI's upload API and its paths use.
ALGORITHMS: dict[str, int] = {
    "sha512": 64,
    "blake2b": 64,
    "sha384": 48,
    "sha256": 32,
    "blake2b_256": 32,
    "sha224": 28,
    "sha1": 20,
    "md5": 16,
}


class Reason(StrEnum):
    """Why a project or a file failed. The list is fixed: other programs read it.

    `pypimirror.status.reasons` has the meaning of each reason and the next step.
    """

    # Transport
    CONNECTION = "connection"
    TIMEOUT = "timeout"
    HTTP_STATUS = "http-status"
    MISSING = "missing"
    DENIED = "denied"
    TRUNCATED = "truncated"
    TOO_LARGE = "too-large"
    BAD_RESPONSE = "bad-response"
    REDIRECT = "redirect"
    HOST_NOT_ALLOWED = "host-not-allowed"
    # Index
    BAD_PAGE = "bad-page"
    BAD_LIST = "bad-list"
    API_VERSION = "api-version"
    WRONG_PROJECT = "wrong-project"
    UNSAFE_NAME = "unsafe-name"
    DUPLICATE_NAME = "duplicate-name"
    UNSAFE_URL = "unsafe-url"
    BAD_DIGEST = "bad-digest"
    NO_PROOF = "no-proof"
    DIGEST_CONFLICT = "digest-conflict"
    DIGEST_CHANGED = "digest-changed"
    QUARANTINED_UPSTREAM = "quarantined-upstream"
    # Verification
    DIGEST_MISMATCH = "digest-mismatch"
    SIZE_MISMATCH = "size-mismatch"
    METADATA_MISMATCH = "metadata-mismatch"
    PROVENANCE_MISMATCH = "provenance-mismatch"
    BAD_ARCHIVE = "bad-archive"
    # This machine
    CONFIGURATION = "configuration"
    DISK = "disk"
    CATALOG = "catalog"
    LOCK = "lock"
    WORKER = "worker"
    LOST = "lost"
    UNREADABLE = "unreadable"
    FOREIGN = "foreign"
    PAGE_DIFFERS = "page-differs"
    DELETION_GUARD = "deletion-guard"
    INCOMPLETE = "incomplete"
    PLAN_DIFFERS = "plan-differs"
    CANCELLED = "cancelled"
    INTERNAL = "internal"


class Stage(StrEnum):
    """The four stages of a run, in order."""

    DISCOVER = "discover"
    DOWNLOAD = "download"
    VERIFY = "verify"
    PUBLISH = "publish"


class ProjectStatus(StrEnum):
    """Project status markers (PEP 792)."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    QUARANTINED = "quarantined"
    DEPRECATED = "deprecated"


class Problem(msgspec.Struct, frozen=True):
    """A failure, with everything that an operator needs to act on it."""

    reason: Reason
    message: str  #: the thing, the cause and the next step, in one or two sentences
    project: str = ""
    file: str = ""
    url: str = ""
    attempts: int = 1


class FileDetails(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, rename="kebab"):
    """Details of a file that an upstream's page states and our page repeats word for word.

    To add a detail, add a field here. `DETAILS` is derived from the fields, and from it follow: the
    key in JSON, reading it from pages, the comparison with earlier claims, and writing it on JSON
    pages. The column is the field of the same name in `catalog.records.FileRecord`; it needs a
    migration. If the value is not read as text, `upstream.json` says how.
    """

    upload_time: str | None = None  #: in the form of `moments.in_utc`
    requires_python: str | None = None
    yanked: str | None = None  #: the reason, or "" without a reason; None: not yanked


#: The names of the details, with their keys on JSON pages.
DETAILS: dict[str, str] = dict(
    zip(FileDetails.__struct_fields__, FileDetails.__struct_encode_fields__, strict=True)
)


_get_details = attrgetter(*DETAILS)


def details_of(source: object) -> dict[str, Any]:
    """Return the details of a file from the attributes of an object."""
    return dict(zip(DETAILS, _get_details(source), strict=True))


class File(FileDetails, frozen=True, omit_defaults=True):
    """One file as an upstream offers it."""

    filename: str
    url: str
    digests: dict[str, str] = {}  #: algorithm to lower-case hex; only those in `ALGORITHMS`
    size: int | None = None  #: bytes
    core_metadata: dict[str, str] | None = None  #: its digests; {}: offered without a digest
    provenance: str | None = None
    extra: dict[str, Any] = {}
    other_urls: tuple[str, ...] = ()  #: other links to it, the best proven first


class ProjectPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """An upstream's page of one project."""

    project: str  #: a ProjectName
    name: str  #: as the upstream writes it
    api_version: tuple[int, int] = (1, 0)
    serial: int | None = None
    status: ProjectStatus = ProjectStatus.ACTIVE
    status_reason: str | None = None
    versions: tuple[str, ...] | None = None  #: None before API version 1.1
    files: tuple[File, ...] = ()
    extra: dict[str, Any] = {}
    problems: tuple[Problem, ...] = ()  #: links of this page that were refused
    warnings: tuple[str, ...] = ()
    external: tuple[str, ...] = ()  #: names of files that only linked pages or downloads offer
    partial: bool = False  #: a part could not be read: missing files may still be offered
    left_out: tuple[str, ...] = ()  #: names of files of variants, which are never mirrored


class Download(msgspec.Struct, frozen=True, omit_defaults=True):
    """A link to a file whose name is known only from the answer."""

    url: str
    digests: dict[str, str] = {}  #: as in `File`


class LinkPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """The links on a plain page of links, for files of any project."""

    files: tuple[File, ...] = ()  #: one for each link: a name may appear several times
    pages: tuple[str, ...] = ()  #: addresses of pages that may have more links
    downloads: tuple[Download, ...] = ()
    problems: tuple[Problem, ...] = ()  #: links to files that were refused, `project` unknown


class Claim(msgspec.Struct, frozen=True):
    """The claims of one source about the bytes of a file."""

    source: str  #: the name of an upstream, the address of an alternate, or a line of a lock
    digests: dict[str, str]  #: as in `File`
    urls: tuple[str, ...] = ()  #: its links to the file, if they may be used
    is_lock: bool = False  #: whether a lock has it; then no upstream can overrule it


class ListedProject(msgspec.Struct, frozen=True, gc=False):
    """One entry of an upstream's project list."""

    name: str  #: as the upstream writes it
    serial: int | None = msgspec.field(name="_last-serial", default=None)


class ProjectList(msgspec.Struct, frozen=True):
    """An upstream's project list."""

    projects: list[ListedProject]
    api_version: tuple[int, int] = (1, 0)
    serial: int | None = None
    warnings: tuple[str, ...] = ()
    links: dict[str, str] = {}  #: addresses of pages by name, if they are not the usual ones


class ReadError(PypimirrorError):
    """An answer of an upstream cannot be used. Carries the `Problem`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem
