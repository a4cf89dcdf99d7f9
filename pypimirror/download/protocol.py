"""The messages between parent and download worker: one JSON object a line.

The parent writes one `Hello`, then jobs; the worker answers each job with exactly one result of
the same `id`, in any order, and may write `Progress` and `Note` lines in between. At the end of its
input, the worker ends at once: the parent is done, or dead.

Both sides import this module, so it must stay cheap: no gevent, no requests.
"""

from __future__ import annotations

import msgspec

from pypimirror.domain.model import LinkPage, Problem, ProjectPage
from pypimirror.download.engine.concurrency import MODEST as MODEST  # the default of `Hello`
from pypimirror.system.logins import Keyring
from pypimirror.system.workers import Note, Progress

#: Seconds for which a worker gathers results: waking the parent costs more than a result.
GATHER = 0.001


class Remote(msgspec.Struct, frozen=True, omit_defaults=True):
    """An upstream: the hosts that its files may come from, and how to ask them."""

    name: str
    url: str
    hosts: tuple[str, ...] = ()  #: "host", "host:port", or "*" for any public one
    authorization: str = ""  #: for the origin of `url` and no other
    proxy: str = (
        ""  #: an address, `pypimirror.domain.addresses.NONE`, or empty for the environment's
    )
    ca_file: str = ""  #: a file or directory of authorities; empty for the environment's
    keyring: Keyring | None = None  #: asked for a login when the origin of `url` refuses


class Hello(msgspec.Struct, frozen=True, omit_defaults=True, tag="hello"):
    """The first line to a worker: settings that hold for all its jobs."""

    remotes: tuple[Remote, ...]
    connections: int = 64
    modest: int = MODEST  #: requests that a host gets at once to begin with
    gather: float = GATHER  #: seconds for which results are gathered
    #: Seconds for connecting, for the head of an answer, and between any two bytes of a body. See
    #: also the pace in `pypimirror.download.http.body`.
    timeout: float = 30.0
    tries: int = 5  #: attempts for a job, the first included
    user_agent: str = "pypimirror"
    max_file_size: int = 5 << 30  #: bytes
    max_page_size: int = 64 << 20  #: bytes of a project page, decompressed
    max_list_size: int = 512 << 20  #: bytes of a project list, decompressed
    backoff: float = 0.5  #: seconds before the second attempt; doubles, with jitter
    max_backoff: float = 60.0  #: seconds; also the longest Retry-After that is waited for


class FetchPage(msgspec.Struct, frozen=True, omit_defaults=True, tag="page"):
    """Ask for one project page and parse it.

    The validators are those of the page at `url`.
    """

    id: int
    remote: str
    url: str
    project: str
    others: tuple[str, ...] = ()  #: other addresses of the page, tried in turn
    etag: str | None = None
    last_modified: str | None = None
    links: bool = False  #: also return linked pages, and downloads without a name
    #: Most bytes of the page, unpacked, if fewer than `Hello` allows.
    max_size: int | None = None

    @property
    def cost(self) -> int:
        """Effort, in units of a small job."""
        return 1

    def failed(self, problem: Problem) -> PageResult:
        """Return the result that says that this job failed."""
        return PageResult(self.id, problem=problem)


class FetchLinks(msgspec.Struct, frozen=True, omit_defaults=True, tag="links"):
    """Ask for a plain page of links and parse it; or, with `name_only`, for a file's name."""

    id: int
    remote: str
    url: str
    name_only: bool = False
    max_size: int | None = None  #: as in `FetchPage`

    @property
    def cost(self) -> int:
        """Effort, in units of a small job."""
        return 1

    def failed(self, problem: Problem) -> LinksResult:
        """Return the result that says that this job failed."""
        return LinksResult(self.id, problem=problem)


class FetchList(msgspec.Struct, frozen=True, omit_defaults=True, tag="list"):
    """Ask for a project list and store it, decompressed, at `path`; the parent parses it."""

    id: int
    remote: str
    url: str
    path: str
    etag: str | None = None
    last_modified: str | None = None
    max_size: int | None = None  #: bytes, if fewer are wanted than `Hello.max_list_size`

    @property
    def cost(self) -> int:
        """Effort, in units of a small job."""
        return 1

    def failed(self, problem: Problem) -> ListResult:
        """Return the result that says that this job failed."""
        return ListResult(self.id, problem=problem)


class Probe(msgspec.Struct, frozen=True, omit_defaults=True, tag="probe"):
    """Check that an address answers, and that its answer is a page or a list."""

    id: int
    remote: str
    url: str
    project: str = ""  #: the answer must be this project's page
    listing: bool = False  #: the answer must be a project list

    @property
    def cost(self) -> int:
        """Effort, in units of a small job."""
        return 1

    def failed(self, problem: Problem) -> Probed:
        """Return the result that says that this job failed."""
        return Probed(self.id, problem=problem)


class FetchFile(msgspec.Struct, frozen=True, omit_defaults=True, tag="file"):
    """Fetch a file to `path`, hashing while streaming.

    Bytes at `path` are continued if the note `path` + ".json" names the answer that they come from.
    The worker writes that note for large transfers.
    """

    id: int
    remote: str
    urls: tuple[str, ...]  #: tried in turn
    path: str
    digests: dict[str, str]  #: all of them are computed, and always sha256
    size: int | None = None  #: bytes, if the upstream says
    max_size: int | None = None  #: bytes, if fewer are allowed than `Hello.max_file_size`
    #: Where to write a wheel's core metadata, if the wheel is simple (`download.files.wheels`).
    metadata_path: str = ""
    head: int = 0  #: bytes; then only so many first ones are wanted, and nothing is checked

    @property
    def cost(self) -> int:
        """Effort, in units of a small job: a megabyte takes about as long as one."""
        return 1 + ((self.size or 0) >> 20)

    def failed(self, problem: Problem) -> FileResult:
        """Return the result that says that this job failed."""
        return FileResult(self.id, problem=problem)


class PageResult(msgspec.Struct, frozen=True, omit_defaults=True, tag="page"):
    """The answer to a `FetchPage`: exactly one of `page`, `not_modified` and `problem`."""

    id: int
    page: ProjectPage | None = None
    not_modified: bool = False
    problem: Problem | None = None  #: reason MISSING if the upstream has no such project
    etag: str | None = None
    last_modified: str | None = None
    serial: int | None = None  #: X-PyPI-Last-Serial, also with not_modified
    digest: str = ""  #: sha256 of the page's decoded body, hex
    linked: LinkPage | None = None  #: the links that were asked for; without `files`
    at: str = ""  #: which of the job's other addresses gave the page; "" for `url`
    large: bool = False  #: the page has more bytes than the job wants, and was not read


class Probed(msgspec.Struct, frozen=True, omit_defaults=True, tag="probe"):
    """The answer to a `Probe`."""

    id: int
    status: int = 0
    url: str = ""  #: after redirects
    seconds: float = 0.0  #: until the head of the answer
    ahead: float | None = None  #: seconds that the other clock is ahead of ours; None if unknown
    #: Some projects of a list, with the addresses of their pages; None for a long list.
    listed: dict[str, str] | None = None
    login: str = ""  #: the source of the login that was sent, as in `Client.login_source`
    problem: Problem | None = None


class LinksResult(msgspec.Struct, frozen=True, omit_defaults=True, tag="links"):
    """The answer to a `FetchLinks`: at most one of `page`, `filename` and `problem`.

    With none of them, the answer was neither a page nor a file with a name.
    """

    id: int
    page: LinkPage | None = None
    filename: str = ""  #: the file name that the answer states, unchecked
    url: str = ""  #: after redirects
    digest: str = ""  #: sha256 of the page's decoded body, hex
    problem: Problem | None = None
    large: bool = False  #: as in `PageResult`


class ListResult(msgspec.Struct, frozen=True, omit_defaults=True, tag="list"):
    """The answer to a `FetchList`."""

    id: int
    status: int = 0  #: the HTTP status, if the answer was no list
    content_type: str = ""
    url: str = ""  #: after redirects
    not_modified: bool = False
    problem: Problem | None = None
    etag: str | None = None
    last_modified: str | None = None
    size: int = 0  #: bytes


class FileResult(msgspec.Struct, frozen=True, omit_defaults=True, tag="file"):
    """The answer to a `FetchFile`.

    Without a problem, all bytes are at the job's path and size and digests agree with the job.
    With DIGEST_MISMATCH, the wrong bytes are at the path, for quarantine. With SIZE_MISMATCH, the
    bytes that came are at the path, `size` of them: none if the headers had the wrong size already.
    """

    id: int
    size: int = 0  #: bytes at the path
    transferred: int = 0  #: bytes that crossed the network for this job
    digests: dict[str, str] = {}  #: computed
    url: str = ""  #: where the bytes came from, after redirects
    metadata_sha256: str = ""  #: of the core metadata that was written, hex; "" if none was
    attempts: int = 1
    problem: Problem | None = None


__all__ = [
    "FetchFile",
    "FetchLinks",
    "FetchList",
    "FetchPage",
    "FileResult",
    "FromWorker",
    "Hello",
    "Job",
    "LinksResult",
    "ListResult",
    "Note",
    "PageResult",
    "Probe",
    "Probed",
    "Progress",
    "Remote",
    "Result",
    "ToWorker",
]

Job = FetchPage | FetchList | FetchLinks | FetchFile | Probe
Result = PageResult | ListResult | LinksResult | FileResult | Probed
FromWorker = PageResult | ListResult | LinksResult | FileResult | Probed | Progress | Note
ToWorker = Hello | FetchPage | FetchList | FetchLinks | FetchFile | Probe
