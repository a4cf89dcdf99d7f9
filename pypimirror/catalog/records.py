"""Typed records: what the catalog gives to the rest of the program, in place of rows.

One class is the mapping of one table. It is written down once: `pypimirror.catalog.schema` derives
the table from it, queries read it by its fields, and what is written is named after them. A field
that several rooms share is derived from here as well (`pypimirror.domain.model.FileDetails`). The
classes at the end hold some columns only, for queries over all rows of a table.

The rules:

* A field is a column of the same name. Its type says what is stored, and None where it may be null;
  `Stored` says what a type cannot.
* A record is what was read, and changes nothing when it changes; nothing of it is checked
  (`pypimirror.catalog.damage` does that).
* No record holds anything that refers to others, so the garbage collector need not look at them.

Structs, since they are built from a row as fast as the row itself, take less memory, and give a
field in a thirtieth of the time that a row needs.
"""

from __future__ import annotations

from typing import Annotated

from sqlalchemy import BigInteger, Integer, SmallInteger

from pypimirror.catalog.mapping.addresses import Address
from pypimirror.catalog.mapping.mapper import Record, Stored

# SQLite only counts up a key of type INTEGER; on PostgreSQL 2^31 files are too near.
KEY = BigInteger().with_variant(Integer, "sqlite")

Id = Annotated[int, Stored(KEY, primary_key=True)]
#: The id of a row of another table that no constraint names, since that row may be gone.
Number = Annotated[int, Stored(KEY)]
OfProject = Annotated[int, Stored(KEY, references="projects.id")]
OfRun = Annotated[int, Stored(KEY, references="runs.id")]
Small = Annotated[int, Stored(SmallInteger())]
Medium = Annotated[int, Stored(Integer())]
Unique = Annotated[str, Stored(unique=True)]
Name = Annotated[str, Stored(primary_key=True)]


class ProjectRecord(Record, frozen=True):
    """A project."""

    id: Id
    name: Unique  #: normalised
    upstream: str | None  #: the owner's name
    serial: int | None  #: of the page that was read last
    page_serial: int | None  #: of our own page: moves when, and only when, it does
    etag: str | None
    last_modified: str | None
    page_digest: str | None  #: of the upstream's page that was read last
    page_at: str | None  #: where that is, from the upstream's address; None: where one looks
    api_version: str | None  #: None until its page was read
    status: str | None  #: None where active
    status_reason: str | None
    versions: str | None  #: JSON list
    extra: str | None  #: JSON object
    selection: str | None  #: digest of the selection it was read under
    choice_until: float | None  #: when time alone changes what is selected of it
    facts: str | None  #: JSON: core metadata that was read for the selection, by its digest
    removal_cause: str | None  #: a `Cause`, where it is not offered any more
    kept: float | None  #: since when it is here though the upstream has deleted it
    checked_at: float | None  #: when its page was last asked for
    read_at: float | None  #: when that was last read whole, and not said to be unchanged
    needs_fetch: bool  #: its page must be asked for
    has_work: bool  #: something is left to do for it
    page_stale: bool  #: its page must be rendered
    page_on_disk: bool  #: its page is on disk
    #: Whether the root index on disk may say something else of it; None: not so.
    root_entry_stale: bool | None
    held_files: Medium | None  #: how many its page has; None: none, as the next
    held_bytes: int | None  #: their size
    linked_files: Medium | None  #: how many more it leads to at the upstream
    page_stamp: int | None  #: of all its forms when it was seen right; see `stamps.stamp_of`
    page_sha256: bytes | None  #: of all their bytes then, in the order of `formats`
    page_renderer: Small | None  #: version of the renderer that wrote it; None: not known


class FileRecord(Record, frozen=True):
    """A file of a project."""

    id: Id
    project_id: OfProject
    filename: str
    url: Annotated[str, Stored(Address())]
    other_urls: str | None  #: JSON list of [source, address]: further links, best first
    location: str | None  #: directory below the mirror root; None: packages/<project>
    state: Small  #: a `State`
    run_id: Number  #: of the last move
    size: int | None  #: bytes
    sha256: bytes | None  #: as claimed; once verified, of the bytes that are here
    digests: str | None  #: JSON object: claims of other algorithms
    proof: Small | None  #: a `verify.proof.Proof`; None until proven
    proof_algorithm: str | None  #: the strongest claim that the bytes meet; None where none
    proof_source: str | None  #: who made the claims; None where nobody did
    released: bytes | None  #: sha256 of bytes that the operator lets in as they are
    proven_at: float | None  #: last time that the bytes were seen to be right
    stamp: int | None  #: of inode, size and mtime then; see `storage.stamps.stamp`
    metadata_claim: bytes | None  #: sha256; empty where offered without any
    metadata_sha256: bytes | None  #: of the .metadata that is held
    upload_time: str | None
    requires_python: str | None
    yanked: str | None
    provenance: str | None
    provenance_sha256: bytes | None  #: of the attestations that are held
    extra: str | None  #: JSON object
    removal_cause: str | None  #: a `Cause`, where it is not offered any more
    kept: float | None  #: since when it is on a page though the upstream has deleted it
    linked: bool | None  #: its page leads, or led, to the upstream; None where not
    withdrawn_at: float | None  #: None once the bytes are removed
    attempts: Small | None  #: runs in a row that failed to get it; None where none
    next_try: float | None  #: not before this; None: as soon as a run comes by
    last_error: str | None  #: of the last attempt, where it failed


class ProjectFile(FileRecord, frozen=True):
    """A file, with what its project's row says of it."""

    project: str  #: the project's name
    upstream: str | None  #: the project's owner


class RefusalRecord(Record, frozen=True):
    """What a page offers and this mirror refuses, until the page changes."""

    id: Id
    project_id: Annotated[int, Stored(KEY, references="projects.id", indexed=True)]
    file: str
    reason: str
    message: str
    url: str


class ListRecord(Record, frozen=True):
    """An upstream's project list, as far as it was read."""

    upstream: Name
    etag: str | None
    last_modified: str | None
    serial: int | None
    selection: str | None
    read_at: float | None  #: when it was last read whole


class MarkRecord(Record, frozen=True):
    """A fact about the mirror as a whole; see `pypimirror.catalog.marks`."""

    name: Name
    value: str


class RunRecord(Record, frozen=True):
    """A run."""

    id: Id
    name: Unique
    command: str
    trigger: str
    version: str
    config: str  #: its digest
    arguments: str  #: JSON list of the projects that were named
    retry_of: str | None  #: the name of the run whose failures this one repeats
    host: str
    boot: str | None  #: differs after each start of the machine; None where not known
    pid: Medium
    state: str
    started_at: float
    ended_at: float | None
    message: str | None
    counts: str | None  #: JSON object


class LeaseRecord(Record, frozen=True):
    """Who works on the mirror; see `pypimirror.catalog.lease`."""

    name: Name
    holder: str  #: JSON object
    expires_at: float


class StageRecord(Record, frozen=True):
    """A batch of a run in one stage."""

    id: Id
    run_id: Annotated[int, Stored(KEY, references="runs.id", indexed=True)]
    stage: str
    batch: Medium
    state: str
    started_at: float
    ended_at: float | None
    counts: str | None  #: JSON object


class FailureRecord(Record, frozen=True):
    """What failed in a run: a file, a project, or a stage as a whole."""

    id: Id
    run_id: OfRun
    stage: str
    project: str
    file: str
    reason: str
    message: str
    url: str
    attempts: Medium


# Some columns of a table


class KnownProject(Record, frozen=True):
    """What lists of projects are held against."""

    name: str
    serial: int | None
    upstream: str | None
    selection: str | None
    removal_cause: str | None
    kept: float | None


class ProjectKey(Record, frozen=True):
    """Which project it is, and whether it is offered."""

    id: int
    name: str
    removal_cause: str | None


class RootIndexEntry(Record, frozen=True):
    """What the root index says of a project."""

    name: str
    page_serial: int | None


class StaleRootIndexEntry(Record, frozen=True):
    """A project of which the root index on disk may say something else."""

    name: str
    page_serial: int | None
    page_on_disk: bool
    removal_cause: str | None


class LeavingFile(Record, frozen=True):
    """A file that is not offered any more and not yet withdrawn."""

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
    """A file as far as it tells what belongs in its place."""

    id: int
    filename: str
    state: int
    withdrawn_at: float | None
    location: str | None
    metadata_sha256: bytes | None
    provenance_sha256: bytes | None
    project: str
