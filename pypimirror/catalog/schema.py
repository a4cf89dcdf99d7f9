"""The tables. Written to be small: a whole public index is 15 million rows of `files`.

Times are seconds since the epoch, UTC. Digests are bytes. JSON is text, absent where empty.
Changes need a migration in `migrations/versions`; a test holds both against each other.
What only PostgreSQL heeds stands in the migrations alone: to name it here loads that dialect.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    and_,
    case,
    literal_column,
)

from pypimirror.catalog.addresses import Address
from pypimirror.catalog.flags import Flag
from pypimirror.catalog.states import DENIED_ERROR, State

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite only counts up a key of type INTEGER; on PostgreSQL 2^31 files are too near.
Key = BigInteger().with_variant(Integer, "sqlite")

projects = Table(
    "projects",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Text, nullable=False, unique=True),  # normalised
    Column("upstream", Text),  # the owner's name
    Column("serial", BigInteger),  # of the page that was read last
    Column("page_serial", BigInteger),  # of our own page: moves when, and only when, it does
    Column("etag", Text),
    Column("last_modified", Text),
    Column("page_digest", Text),  # of the upstream's page that was read last
    Column("page_at", Text),  # where that is, from the upstream's address; null: where one looks
    Column("api_version", Text),  # null until its page was read
    Column("status", Text),  # null where active
    Column("status_reason", Text),
    Column("versions", Text),  # JSON list
    Column("extra", Text),  # JSON object
    Column("selection", Text),  # digest of the selection it was read under
    Column("choice_until", Float),  # when time alone changes what is selected of it
    Column("facts", Text),  # JSON: core metadata that was read for the selection, by its digest
    Column("removal_cause", Text),  # a Cause, where it is not offered any more
    Column("kept", Float),  # since when it is here though the upstream has deleted it
    Column("checked_at", Float),  # when its page was last asked for
    Column("read_at", Float),  # when that was last read whole, and not said to be unchanged
    Column("needs_fetch", Flag, nullable=False),  # its page must be asked for
    Column("has_work", Flag, nullable=False),  # something is left to do for it
    Column("page_stale", Flag, nullable=False),  # its page must be rendered
    Column("page_on_disk", Flag, nullable=False),  # its page is on disk
    Column(
        "root_entry_stale", Flag
    ),  # the root index on disk may say something else of it; null: not so
    Column("held_files", Integer),  # how many its page has; null: none, as the next
    Column("held_bytes", BigInteger),  # their size
    Column("linked_files", Integer),  # how many more it leads to at the upstream
    Column("page_stamp", BigInteger),  # of all its forms when it was seen right; see paths.stamp_of
    Column("page_sha256", LargeBinary),  # of all their bytes then, in the order of `formats`
    Column("page_renderer", SmallInteger),  # version of the renderer that wrote it; null: unknown
)
# Queries must say `is_(True)` in the same words, or SQLite does not see that the index fits.
_has_work = projects.c.has_work.is_(True)
Index("ix_projects_has_work", projects.c.id, sqlite_where=_has_work)
_root_entry_stale = projects.c.root_entry_stale.is_(True)
Index("ix_projects_root_entry_stale", projects.c.id, sqlite_where=_root_entry_stale)
# What the root index says of itself: the highest of each.
Index("ix_projects_api", projects.c.api_version)
Index("ix_projects_page_serial", projects.c.page_serial)
_timed = projects.c.choice_until.is_not(None)
Index("ix_projects_choice", projects.c.choice_until, sqlite_where=_timed)
Index("ix_projects_checked", projects.c.upstream, projects.c.checked_at)


files = Table(
    "files",
    metadata,
    Column("id", Key, primary_key=True),
    Column("project_id", Key, ForeignKey("projects.id"), nullable=False),
    Column("filename", Text, nullable=False),
    Column("url", Address, nullable=False),
    Column("other_urls", Text),  # JSON list of [source, address]: further links, best first
    Column("location", Text),  # directory below the mirror root; null: packages/<project>
    Column("state", SmallInteger, nullable=False),
    Column("run_id", Key, nullable=False),  # of the last move
    Column("size", BigInteger),
    Column("sha256", LargeBinary),  # as claimed; once verified, of the bytes that are here
    Column("digests", Text),  # JSON object: claims of other algorithms
    Column("proof", SmallInteger),  # a verify.proof.Proof; null until proven
    Column("proof_algorithm", Text),  # the strongest claim that the bytes meet; null where none
    Column("proof_source", Text),  # who made the claims; null where nobody did
    Column("released", LargeBinary),  # sha256 of bytes that the operator lets in as they are
    Column("proven_at", Float),  # last time that the bytes were seen to be right
    Column("stamp", BigInteger),  # of inode, size and mtime then; see tree.stamp
    Column("metadata_claim", LargeBinary),  # sha256; empty where offered without any
    Column("metadata_sha256", LargeBinary),  # of the .metadata that is held
    Column("upload_time", Text),
    Column("requires_python", Text),
    Column("yanked", Text),
    Column("provenance", Text),
    Column("provenance_sha256", LargeBinary),  # of the attestations that are held
    Column("extra", Text),  # JSON object
    Column("removal_cause", Text),  # a Cause, where it is not offered any more
    Column("kept", Float),  # since when it is on a page though the upstream has deleted it
    Column("linked", Flag),  # its page leads, or led, to the upstream; null where not
    Column("withdrawn_at", Float),  # null once the bytes are removed
    Column("attempts", SmallInteger),  # runs in a row that failed to get it; null where none
    Column("next_try", Float),  # not before this; null: as soon as a run comes by
    Column("last_error", Text),  # of the last attempt, where it failed
    UniqueConstraint("project_id", "filename"),
)
# Conditions that queries must say in these words, or no database sees that the index fits.
_withdrawn: ColumnElement[int] = literal_column(str(int(State.WITHDRAWN)))
IS_LEAVING = and_(files.c.removal_cause.is_not(None), files.c.state != _withdrawn)
Index("ix_files_leaving", files.c.id, sqlite_where=IS_LEAVING)
IS_WITHDRAWN = files.c.state == _withdrawn
#: Whether `states.word` is that of what the upstream keeps back: 1 or 0.
IS_DENIED = case(
    (and_(files.c.state == State.FAILED, files.c.last_error.startswith(DENIED_ERROR)), 1), else_=0
)
Index("ix_files_past", files.c.id, sqlite_where=IS_WITHDRAWN)
_held = files.c.withdrawn_at.is_not(None)
Index("ix_files_withdrawn", files.c.withdrawn_at, sqlite_where=_held)
_kept = files.c.kept.is_not(None)
Index("ix_files_kept", files.c.project_id, sqlite_where=_kept)
_released = files.c.released.is_not(None)
Index("ix_files_released", files.c.id, sqlite_where=_released)
_waits = files.c.next_try.is_not(None)
Index("ix_files_next_try", files.c.next_try, sqlite_where=_waits)

#: What a page offers and this mirror refuses, until the page changes.
refusals = Table(
    "refusals",
    metadata,
    Column("id", Key, primary_key=True),
    Column("project_id", Key, ForeignKey("projects.id"), nullable=False, index=True),
    Column("file", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("url", Text, nullable=False),
)

#: The upstreams' project lists, as far as they were read.
lists = Table(
    "lists",
    metadata,
    Column("upstream", Text, primary_key=True),
    Column("etag", Text),
    Column("last_modified", Text),
    Column("serial", BigInteger),
    Column("selection", Text),
    Column("read_at", Float),  # when it was last read whole
)

#: Facts about the mirror as a whole, such as the form in which its pages were written.
marks = Table(
    "marks",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Key, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("command", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("config", Text, nullable=False),  # its digest
    Column("arguments", Text, nullable=False),  # JSON list of the projects that were named
    Column("retry_of", Text),  # the name of the run whose failures this one repeats
    Column("host", Text, nullable=False),
    Column("boot", Text),  # differs after each start of the machine; null where not known
    Column("pid", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("message", Text),
    Column("counts", Text),  # JSON object
)

#: Who works on the mirror; see `pypimirror.catalog.lease`.
leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),  # JSON object
    Column("expires_at", Float, nullable=False),
)

stages = Table(
    "stages",
    metadata,
    Column("id", Key, primary_key=True),
    Column("run_id", Key, ForeignKey("runs.id"), nullable=False, index=True),
    Column("stage", Text, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("ended_at", Float),
    Column("counts", Text),  # JSON object
)

failures = Table(
    "failures",
    metadata,
    Column("id", Key, primary_key=True),
    Column("run_id", Key, ForeignKey("runs.id"), nullable=False),
    Column("stage", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    UniqueConstraint("run_id", "stage", "project", "file"),
)
