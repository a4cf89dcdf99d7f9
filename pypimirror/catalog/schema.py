"""The tables, each derived from its record, and their indexes.

The columns are the fields of `pypimirror.catalog.records`. The tables are kept small: a whole
public index has 15 million rows of `files`.

Times are seconds since the epoch, UTC. Digests are bytes. JSON is text; empty values are NULL. A
change needs a migration in `migrations/versions`; a test compares both. Settings for PostgreSQL
only are in the migrations alone, because naming them here would import that dialect.
"""

from __future__ import annotations

from sqlalchemy import (
    ColumnElement,
    Index,
    MetaData,
    UniqueConstraint,
    and_,
    case,
    literal_column,
)

from pypimirror.catalog.mapping.columns import KEY as KEY
from pypimirror.catalog.mapping.columns import table
from pypimirror.catalog.records import (
    AskedRecord,
    ClaimRecord,
    DayRecord,
    DependentRecord,
    FailureRecord,
    FileRecord,
    LeaseRecord,
    ListRecord,
    MarkRecord,
    NeedRecord,
    ProjectRecord,
    RefusalRecord,
    RequirementRecord,
    RunRecord,
    StageRecord,
    SummaryRecord,
    WorkerRecord,
)
from pypimirror.catalog.states import DENIED_ERROR, State

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


projects = table("projects", metadata, ProjectRecord)
# Queries must use `is_(True)` in the same form, or SQLite does not use the index.
_has_work = projects.c.has_work.is_(True)
Index("ix_projects_has_work", projects.c.id, sqlite_where=_has_work)
_root_entry_stale = projects.c.root_entry_stale.is_(True)
Index("ix_projects_root_entry_stale", projects.c.id, sqlite_where=_root_entry_stale)
# The root index needs the highest value of each.
Index("ix_projects_api", projects.c.api_version)
Index("ix_projects_page_serial", projects.c.page_serial)
_timed = projects.c.choice_until.is_not(None)
Index("ix_projects_choice", projects.c.choice_until, sqlite_where=_timed)
Index("ix_projects_checked", projects.c.upstream, projects.c.checked_at)


files = table("files", metadata, FileRecord, UniqueConstraint("project_id", "filename"))
# Queries must use exactly these conditions, or no database uses the index.
_withdrawn: ColumnElement[int] = literal_column(str(int(State.WITHDRAWN)))
IS_LEAVING = and_(files.c.removal_cause.is_not(None), files.c.state != _withdrawn)
Index("ix_files_leaving", files.c.id, sqlite_where=IS_LEAVING)
IS_WITHDRAWN = files.c.state == _withdrawn
#: 1 if `states.word` is "denied", because the upstream withholds the file; else 0.
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

refusals = table("refusals", metadata, RefusalRecord)
lists = table("lists", metadata, ListRecord)
marks = table("marks", metadata, MarkRecord)
requirements = table("requirements", metadata, RequirementRecord)
needs = table("needs", metadata, NeedRecord)
asked = table("asked", metadata, AskedRecord)
Index("ix_asked_used_at", asked.c.used_at)
summaries = table("summaries", metadata, SummaryRecord)
# Words of SQLite are in a table of FTS5 (`mapping.fulltext`); PostgreSQL has an index, named in the
# migration alone.
dependents = table("dependents", metadata, DependentRecord)
Index("ix_dependents_required", dependents.c.required)
runs = table("runs", metadata, RunRecord)
leases = table("leases", metadata, LeaseRecord)
workers = table("workers", metadata, WorkerRecord)
claims = table("claims", metadata, ClaimRecord)
Index("ix_claims_worker_id_batch", claims.c.worker_id, claims.c.batch)
# There is a row for each project of a run, and a worker has few of them in hand.
_in_hand = claims.c.done.is_(False)
# The migration has the same condition for PostgreSQL, whose dialect is slow to import.
Index("ix_claims_in_hand", claims.c.project_id, sqlite_where=_in_hand)
stages = table("stages", metadata, StageRecord)
_once = UniqueConstraint("run_id", "stage", "project", "file")
failures = table("failures", metadata, FailureRecord, _once)
days = table("days", metadata, DayRecord)
