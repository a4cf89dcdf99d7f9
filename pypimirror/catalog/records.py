"""Typed records: what queries return, and what the rest of the program uses instead of rows.

One class describes one table, and nothing else does: `pypimirror.catalog.schema` derives the table
from it, queries select its fields, and written values are named after its fields. Fields that
several packages share come from `pypimirror.domain.model.FileDetails`. The classes at
the end have only some columns, for queries over all rows of a table.

The rules:

* A field is a column of the same name. Its type is the type of the column; `| None` means that the
  column may be null. `Stored` adds what a type cannot say.
* A record is a copy of a row that was read. Changing it changes nothing in the catalog. Its values
  are not checked here: `pypimirror.catalog.damage` does that.
* No field refers to another object that has references, so the garbage collector can skip records.

Records are msgspec structs. A struct is built as fast as SQLAlchemy's row, takes less memory, and
reads a field 30 times faster. Annotations are values here and not texts, because the schema reads
them in each process, and would have to compile each text.
"""

from collections.abc import Mapping
from typing import Annotated

from pypimirror.catalog.mapping.fields import Record, Stored

Id = Annotated[int, Stored("key", primary_key=True)]
#: The id of a row in another table, without a constraint: that row may have been deleted.
Number = Annotated[int, Stored("key")]
OfProject = Annotated[int, Stored("key", references="projects.id")]
OfRun = Annotated[int, Stored("key", references="runs.id")]
Small = Annotated[int, Stored("small")]
Medium = Annotated[int, Stored("medium")]
Unique = Annotated[str, Stored(unique=True)]
Name = Annotated[str, Stored(primary_key=True)]
Digest = Annotated[bytes, Stored(primary_key=True)]


class ProjectRecord(Record, frozen=True):
    """A project."""

    id: Id
    name: Unique  #: normalised
    upstream: str | None  #: the upstream that owns the project
    serial: int | None  #: of the upstream's page that was read last
    page_serial: int | None  #: of our own page: changes exactly when that page changes
    etag: str | None
    last_modified: str | None
    page_digest: str | None  #: of the upstream's page that was read last
    page_at: str | None  #: address of that page, relative to the upstream's; None: the usual one
    api_version: str | None  #: of the page; None until it was read
    status: str | None  #: None: active
    status_reason: str | None
    versions: str | None  #: JSON list
    extra: str | None  #: JSON object
    selection: str | None  #: digest of the selection when the page was read
    choice_until: float | None  #: when the selected files change by time alone
    facts: str | None  #: JSON: core metadata that the selection needs, by its digest
    removal_cause: str | None  #: a `Cause`; None while it is offered
    kept: float | None  #: when the upstream deleted it, if it is kept all the same
    checked_at: float | None  #: when its page was last fetched
    read_at: float | None  #: when its page was last read in full: not "not modified"
    needs_fetch: bool  #: its page must be fetched
    listed: bool | None  #: True if that is because of an upstream's list, else None
    listed_serial: int | None  #: its serial in that list
    listed_at: str | None  #: address of its page in that list; None: the usual one
    has_work: bool  #: a run has work to do for it
    page_stale: bool  #: its page must be rendered
    page_on_disk: bool  #: its page is on disk
    #: Whether the root index on disk may have an old entry for it; None: no.
    root_entry_stale: bool | None
    held_files: Medium | None  #: number of files on its page that are held; None: 0
    held_bytes: int | None  #: their size in bytes; None: 0
    linked_files: Medium | None  #: number of files on its page that link to the upstream; None: 0
    page_stamp: int | None  #: of its page files when last proven right; see `stamps.stamp_of`
    page_sha256: bytes | None  #: of all their bytes at that time, in the order of `formats`
    page_renderer: Small | None  #: version of the renderer that wrote its page; None: unknown


class FileRecord(Record, frozen=True):
    """A file of a project."""

    id: Id
    project_id: OfProject
    filename: str
    url: Annotated[str, Stored("address")]
    other_urls: str | None  #: JSON list of [source, address]: other links, the best first
    location: str | None  #: directory below the mirror root; None: packages/<project>
    state: Small  #: a `State`
    run_id: Number  #: the run that changed the state last
    size: int | None  #: bytes
    sha256: bytes | None  #: as claimed; once the file is verified, of the bytes here
    digests: str | None  #: JSON object: claimed digests of other algorithms
    proof: Small | None  #: a `verify.proof.Proof`; None until proven
    proof_algorithm: str | None  #: of the strongest claim that the bytes match; None: no claim
    proof_source: str | None  #: who claimed it; None: nobody
    released: bytes | None  #: sha256 of bytes that the operator has accepted unproven
    proven_at: float | None  #: when the bytes were last proven right
    stamp: int | None  #: of inode, size and mtime at that time; see `storage.stamps.stamp`
    metadata_claim: bytes | None  #: sha256; empty: offered without a digest
    metadata_sha256: bytes | None  #: of the .metadata that is held
    upload_time: str | None
    requires_python: str | None
    yanked: str | None
    provenance: str | None
    provenance_sha256: bytes | None  #: of the attestations that are held
    extra: str | None  #: JSON object
    removal_cause: str | None  #: a `Cause`; None while it is offered
    kept: float | None  #: when the upstream deleted it, if its page keeps it
    linked: bool | None  #: its page links, or linked, to the upstream; None: no
    withdrawn_at: float | None  #: when it was withdrawn; None again once the bytes are removed
    attempts: Small | None  #: failed runs in a row; None: 0
    next_try: float | None  #: time before which no run tries again; None: the next run tries
    last_error: str | None  #: of the last attempt, if it failed


class ProjectFile(FileRecord, frozen=True):
    """A file together with two columns of its project."""

    project: str  #: the project's name
    upstream: str | None  #: the project's owner


class RefusalRecord(Record, frozen=True):
    """An offer of a page that this mirror refuses. It stays until the page changes."""

    id: Id
    project_id: Annotated[int, Stored("key", references="projects.id", indexed=True)]
    file: str
    reason: str
    message: str
    url: str


class ListRecord(Record, frozen=True):
    """An upstream's project list when it was last read."""

    upstream: Name
    etag: str | None
    last_modified: str | None
    serial: int | None
    selection: str | None
    read_at: float | None  #: when it was last read in full


class MarkRecord(Record, frozen=True):
    """A fact about the mirror as a whole; see `pypimirror.catalog.marks`."""

    name: Name
    value: str


class RequirementRecord(Record, frozen=True):
    """The requirements of all files with the same core metadata."""

    digest: Digest  #: sha256 of the held or announced core metadata, else of the file
    found: str  #: JSON of a `dependencies.Requirements`


class NeedRecord(Record, frozen=True):
    """A project that selected files need; see `pypimirror.select.closure`."""

    project: Name
    versions: str  #: JSON list of version specifiers; "" means every version


class AskedRecord(Record, frozen=True):
    """A file that a client has asked for; see `queries.work.asked`."""

    project: Name
    filename: Name
    size: int | None  #: bytes; None: unknown
    asked_at: float  #: of the request for which it was fetched last
    used_at: float  #: last, to the minute
    worker_id: Number | None  #: the worker that fetches it now; None: nobody does


class SummaryRecord(Record, frozen=True):
    """The name and summary of a project, for search. See `pypimirror.catalog.queries.browsing`."""

    project_id: Annotated[int, Stored("key", primary_key=True, given=True)]
    name: str
    summary: str  #: one line; "": none is known
    source: bytes | None  #: sha256 of the core metadata or sdist that says it; None: none is here


class DependentRecord(Record, frozen=True):
    """A requirement of a project, from the same source as its `SummaryRecord`."""

    project_id: Annotated[int, Stored("key", primary_key=True, given=True)]
    required: Name  #: normalised


class RunRecord(Record, frozen=True):
    """A run."""

    id: Id
    name: Unique
    command: str
    trigger: str
    version: str
    config: str  #: digest of the configuration
    arguments: str  #: JSON list of the projects that were named
    retry_of: str | None  #: the name of the run whose failures this one repeats
    host: str
    boot: str | None  #: id of this boot of the machine; None: unknown
    pid: Medium
    state: str
    started_at: float
    ended_at: float | None
    message: str | None
    counts: str | None  #: JSON object


class LeaseRecord(Record, frozen=True):
    """The holder of a lease on the mirror; see `pypimirror.catalog.lease`."""

    name: Name
    holder: str  #: JSON object
    expires_at: float


class WorkerRecord(Record, frozen=True):
    """A worker of a run: it takes batches of projects through the stages."""

    id: Id
    run_id: Annotated[int, Stored("key", references="runs.id", indexed=True)]
    name: str  #: a number, or the name of a shard
    executor: str  #: one of `states.EXECUTORS`
    holder: str  #: JSON object: its process
    host: str
    state: str  #: one of `states.WORKER_STATES`
    started_at: float
    ended_at: float | None
    expires_at: float  #: by the clock of the database; from then on, others may take its claims
    batches: Medium  #: number of batches that it has finished
    projects: Medium  #: number of projects in them
    counts: str | None  #: JSON object, as in a run
    message: str | None  #: why it ended early


class ClaimRecord(Record, frozen=True):
    """A project that a worker of the present run has, or has finished; see `catalog.claims`."""

    project_id: Annotated[int, Stored("key", primary_key=True, given=True)]
    worker_id: Number
    batch: Medium
    done: bool  #: finished in this run; another run does the rest


class StageRecord(Record, frozen=True):
    """One batch of a run in one stage."""

    id: Id
    run_id: Annotated[int, Stored("key", references="runs.id", indexed=True)]
    stage: str
    batch: Medium
    state: str
    started_at: float
    ended_at: float | None
    counts: str | None  #: JSON object


class FailureRecord(Record, frozen=True):
    """A failure in a run: of a file, of a project, or of a whole stage."""

    id: Id
    run_id: OfRun
    stage: str
    project: str
    file: str
    reason: str
    message: str
    url: str
    attempts: Medium


class DayRecord(Record, frozen=True):
    """A day in UTC: the work of its runs, and the contents of the mirror after the last run."""

    day: Annotated[int, Stored("medium", primary_key=True, given=True)]  #: since the epoch
    projects: Medium  #: number of pages
    files: int  #: number of files on pages
    bytes: int  #: of these files
    free: int | None  #: free bytes of the mirror root's file system; None: unknown
    backlog: Medium  #: number of files with work left, or that wait for another try
    oldest: float | None  #: highest age of the last complete sync; None: there was none before
    runs: Medium
    undone: Medium  #: number of runs that did not complete
    seconds: float  #: of the longest sync
    downloaded: int  #: bytes, of all runs
    failures: str  #: JSON object: the most failures that one run had, by reason


#: The record of each table.
TABLES: Mapping[str, type[Record]] = {
    "projects": ProjectRecord, "files": FileRecord, "refusals": RefusalRecord,
    "lists": ListRecord, "marks": MarkRecord, "requirements": RequirementRecord,
    "needs": NeedRecord, "asked": AskedRecord, "summaries": SummaryRecord,
    "dependents": DependentRecord, "runs": RunRecord, "leases": LeaseRecord,
    "workers": WorkerRecord, "claims": ClaimRecord, "stages": StageRecord,
    "failures": FailureRecord, "days": DayRecord,
}  # fmt: skip

# Records with some columns of a table


class KnownProject(Record, frozen=True):
    """The columns that are compared with project lists."""

    name: str
    serial: int | None
    upstream: str | None
    selection: str | None
    removal_cause: str | None
    kept: float | None


class ProjectKey(Record, frozen=True):
    """The id and name of a project, and whether it is offered."""

    id: int
    name: str
    removal_cause: str | None


class StaleRootIndexEntry(Record, frozen=True):
    """A project whose entry in the root index on disk may be old."""

    name: str
    page_serial: int | None
    page_on_disk: bool
    removal_cause: str | None


class LeavingFile(Record, frozen=True):
    """A file that is no longer offered and not yet withdrawn."""

    id: int
    project_id: int
    filename: str
    state: int
    removal_cause: str | None
    size: int | None
    sha256: bytes | None
    location: str | None
    proof: int | None
    linked: bool | None
    withdrawn_at: float | None
    project: str


class NamedFile(Record, frozen=True):
    """The columns that tell which file belongs at a path."""

    id: int
    filename: str
    state: int
    withdrawn_at: float | None
    location: str | None
    metadata_sha256: bytes | None
    provenance_sha256: bytes | None
    project: str


class OfferedFile(Record, frozen=True):
    """The columns that tell which requirements a release has."""

    id: int
    project: str
    filename: str
    state: int
    digest: bytes | None  #: the key of its requirements; None: they are unknown


class UnreadFile(Record, frozen=True):
    """A file whose requirements have not been read yet."""

    id: int
    project: str
    filename: str
    state: int
    digest: bytes
    url: Annotated[str, Stored("address")]
    upstream: str | None
    location: str | None
    size: int | None
    metadata_sha256: bytes | None
