"""The plan of a sync: the files and pages that it would fetch, publish, withdraw and remove.

The plan comes from the sync's own code: discovery and removals run on a copy of the catalog. So the
plan and the run cannot disagree, and nobody waits for the plan.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from pypimirror.catalog import damage
from pypimirror.catalog.database import Catalog, copy, is_absent
from pypimirror.catalog.queries import entries, files, pages, projects
from pypimirror.catalog.queries.work import tries
from pypimirror.catalog.records import FileRecord, LeavingFile
from pypimirror.catalog.states import PROVEN, Cause, State
from pypimirror.config.settings import Config
from pypimirror.domain import documents
from pypimirror.domain.model import Problem, Stage
from pypimirror.pipeline import backlog, ownership, waiting
from pypimirror.pipeline.asked import eviction
from pypimirror.pipeline.closure import needs, rounds
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.context.ledger import KeptLedger
from pypimirror.pipeline.context.reporter import LogReporter, Reporter
from pypimirror.pipeline.discover import changes, discover
from pypimirror.pipeline.executors import loop
from pypimirror.pipeline.lifecycle import check_names
from pypimirror.pipeline.publish import forms, outdated, withdraw
from pypimirror.pipeline.run import Run, StoppedError, make
from pypimirror.select.selection import Selection
from pypimirror.storage import lock
from pypimirror.storage.opening import opener
from pypimirror.storage.storage import MakeStorage, Storage
from pypimirror.storage.workspace import Workspace
from pypimirror.system import interrupts

#: The version of the document. It changes when a change could break a reader.
VERSION = 1

_LINKED = "metadata-only"

#: The name of the copied catalog in a temporary directory.
_COPY = "catalog.sqlite"


class PlanEntry(msgspec.Struct, frozen=True):
    """One file of a plan."""

    project: str
    file: str
    size: int | None  #: bytes, if the upstream states it
    #: `wanted`, `failed` or `quarantined` for a file to fetch; a `states.Cause` for a file that
    #: leaves; `metadata-only` for a file that pages link to at the upstream.
    reason: str
    sha256: str | None = None  #: as claimed, or proven


class Plan(Struct):
    """What a sync would do."""

    names: Sequence[str] = ()  #: the projects that it is limited to; empty: all selected ones
    fetch: list[PlanEntry] = field(default_factory=list)
    #: Files that pages in `publish` would link to at the upstream.
    link: list[PlanEntry] = field(default_factory=list)
    #: Projects whose pages would be rendered, in order.
    publish: dict[str, None] = field(default_factory=dict)
    withdraw: list[PlanEntry] = field(default_factory=list)
    remove: list[PlanEntry] = field(default_factory=list)  #: files whose bytes would be deleted now
    problems: list[Problem] = field(default_factory=list)

    def as_json(self) -> documents.PlanDocument:
        """Return the document that `sync --dry-run --json` prints."""
        return {
            "version": VERSION,
            "projects": list(self.names),
            "fetch": msgspec.to_builtins(self.fetch),
            "link": msgspec.to_builtins(self.link),
            "publish": list(self.publish),
            "withdraw": msgspec.to_builtins(self.withdraw),
            "remove": msgspec.to_builtins(self.remove),
            "bytes": sum(entry.size or 0 for entry in self.fetch),
            "bytes_removed": sum(entry.size or 0 for entry in self.remove),
            "failures": [
                {
                    "project": problem.project,
                    "file": problem.file,
                    "stage": Stage.DISCOVER.value,
                    "reason": problem.reason.value,
                    "message": problem.message,
                }
                for problem in self.problems
            ],
        }


def plan(
    config: Config,
    names: Sequence[str],
    reporter: Reporter,
    wait: float = 0.0,
    make_storage: MakeStorage | None = None,
) -> Plan:
    """Ask the upstreams and return what a sync would do. Nothing is changed.

    Only while the catalog is copied, no other run may work on the mirror.

    Waits up to `wait` seconds for another run. Raises `StoppedError` if no upstream answers, and
    `LockedError` while another run works on the mirror.
    """
    selection = Selection(config)
    opened = waiting.patiently(lambda: _open(config, make_storage), wait, reporter.announce)
    with opened as (catalog, storage, workspace):
        with catalog.read() as connection:
            selection = needs.remembered(connection, selection)
        checked = check_names(selection, names)
        ledger = KeptLedger(catalog, reporter)
        run = make(config, selection, catalog, storage, workspace, reporter, ledger, checked)
        with closing(run.pools):
            if config.select.dependencies == "resolved":
                from pypimirror.pipeline import resolution  # few configurations ask for it

                run = resolution.apply(run, keep=False)
            needs.forget(run)
            run = eviction.evict(run)
            changes.look_for_changes(run)
            found = Plan(checked or ())
            for number, ids in enumerate(_batches(run), start=1):
                discover.discover(run, Batch(number, tuple(ids)))
            run, is_known = _follow(run)
            for ids in _batches(run):
                _add_batch(run, found, ids)
            if not is_known:
                _warn_of_unknown(run, found)
            if run.ledger.unreachable:
                raise StoppedError(run.ledger.unreachable)
            _add_removals(run, found)
    found.problems[:0] = ledger.kept
    return found


def _batches(run: Run) -> Iterator[list[int]]:
    """Yield the ids of projects with work. Nothing is claimed: nobody else works on the mirror."""
    last = 0
    while True:
        with run.catalog.read() as connection:
            found = projects.next_batch(connection, last, projects.CHUNK, run.names)
        if not found:
            return
        last = found[-1]
        yield from projects.chunks(found, loop.BATCH_SIZE)


def _follow(run: Run) -> tuple[Run, bool]:
    """Read the pages of needed projects. Return the run that knows them, and whether these are
    all.
    """
    is_known = True
    while needs.is_due(run):
        is_known = rounds.close(run)
        run = needs.with_needs(run)
        if not run.ledger.marked:
            break
    return run, is_known


def _warn_of_unknown(run: Run, found: Plan) -> None:
    if run.selection.follows and found.fetch:
        run.reporter.note(
            "warning",
            "what some files of this plan require is not known before they are here, so a sync "
            "may fetch more",
        )


def rest(run: Run) -> Plan:
    """Return the work that is left for a run after its discovery, by the catalog alone. Nothing is
    changed.
    """
    found = Plan(run.names or ())
    with (
        TemporaryDirectory(prefix="pypimirror-") as staging,
        closing(copy(run.catalog, Path(staging) / _COPY)) as catalog,
    ):
        reporter = LogReporter()
        # The same storage, which a dry run only reads.
        dry_run = replace(
            run,
            catalog=catalog,
            workspace=Workspace(run.workspace.directory, Path(staging)),
            reporter=reporter,
            ledger=KeptLedger(catalog, reporter),
            lease=None,
        )
        for ids in _batches(dry_run):
            _add_batch(dry_run, found, ids)
        _add_removals(dry_run, found)
    return found


@contextmanager
def _open(
    config: Config, make_storage: MakeStorage | None
) -> Iterator[tuple[Catalog, Storage, Workspace]]:
    """Open mirror root and a copy of the catalog, without creating them."""
    with interrupts.raised(), ExitStack() as stack:
        staging = stack.enter_context(TemporaryDirectory(prefix="pypimirror-"))
        workspace = Workspace(config.directory, Path(staging))
        storage = (make_storage or opener(config.bucket))(workspace, None)
        with ExitStack() as held:
            if (workspace.private / "lock").exists():
                held.enter_context(lock.hold(workspace.private / "lock"))
            url = "sqlite://" if is_absent(config.catalog_url) else config.catalog_url
            catalog = held.enter_context(closing(Catalog.open(url)))
            held.enter_context(damage.opened(catalog))
            held.enter_context(ownership.hold(catalog, workspace, storage, claim=False))
            copied = stack.enter_context(closing(copy(catalog, Path(staging) / _COPY)))
        stack.enter_context(damage.reported(copied.shown, copied.read))
        yield copied, storage, workspace


def _add_batch(run: Run, found: Plan, ids: Sequence[int]) -> None:
    """Add the files to fetch, the pages to write and the files to link, for a batch of projects."""
    with run.catalog.read() as connection:
        due = tries.due(connection, ids, run.due_at)
        found.fetch.extend(_entry(row, row.project, State(row.state).label) for row in due)
        rows = [
            row
            for row in projects.get(connection, ids)
            if row.page_stale and row.removal_cause is None
        ]
        _add_pages(found, (row.name for row in rows))
        names = {row.id: row.name for row in rows}
        listed = files.listed(connection, list(names))
        # A file that is to be held again stays linked until its bytes are proven.
        linked = [row for row in listed if row.linked and row.state in (State.LINKED, *PROVEN)]
    replaced = []
    for row in linked:
        entry = _entry(row, names[row.project_id], _LINKED)
        found.link.append(entry)
        if row.state in PROVEN:  # its bytes go after its page links to the upstream
            found.withdraw.append(entry)
            replaced.append({"id": row.id, "withdrawn_at": run.now})
    with run.catalog.write() as connection:
        files.move(connection, State.LINKED, replaced, run.id)


def _add_removals(run: Run, found: Plan) -> None:
    """Do in the catalog what the end of a sync does there, and add the results to the plan."""
    with run.catalog.read() as connection:
        found.problems.extend(itertools.chain(*backlog.open_problems(run, connection).values()))
        if forms.is_another_form(run, connection):
            _add_pages(found, entries.root_names(connection, with_gone=False))
    leaving = [r for rows in withdraw.all_leaving(run) for r in rows if withdraw.is_listed(r)]
    refusal = withdraw.withdraw(run, as_if_complete=True)
    if refusal is not None:
        found.problems.append(refusal)
    else:
        going = (row for row in leaving if row.removal_cause != Cause.KEPT)
        found.withdraw.extend(_entry(row, row.project, row.removal_cause or "") for row in going)
    with run.catalog.write() as connection:
        for chunk in projects.chunks(outdated.of_turn(connection, with_gone=refusal is not None)):
            _add_pages(found, (row.name for row in projects.get(connection, chunk)))
        if refusal is None:
            for chunk in projects.chunks({row.project_id for row in leaving}):
                rows = projects.get(connection, sorted(chunk))
                _add_pages(found, (row.name for row in rows if row.removal_cause is None))
        pages.settle(connection, with_gone=refusal is None)
    expired = (row for rows in withdraw.all_expired(run) for row in rows)
    found.remove = [_entry(row, row.project, row.removal_cause or _LINKED) for row in expired]


def _add_pages(found: Plan, names: Iterable[str]) -> None:
    found.publish.update(dict.fromkeys(names))


def _entry(row: FileRecord | LeavingFile, project: str, reason: str) -> PlanEntry:
    sha256 = row.sha256.hex() if row.sha256 is not None else None
    return PlanEntry(project, row.filename, row.size, reason, sha256)
