"""`pypimirror status`, `runs` and `runs show`: reading the catalog for people and programs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, cast

from packaging.utils import canonicalize_name

from pypimirror.catalog import damage
from pypimirror.catalog.database import Catalog, Connection, is_absent
from pypimirror.catalog.marks import CLOSURE
from pypimirror.catalog.queries import files, marks, projects, runs, totals, withdrawals
from pypimirror.catalog.queries.history import batches
from pypimirror.catalog.queries.work import asked
from pypimirror.catalog.queries.work import workers as working
from pypimirror.catalog.records import AskedRecord, FileRecord, ProjectRecord, RunRecord
from pypimirror.catalog.states import COMPLETED, DENIED, RUNNING, word
from pypimirror.cli.display import dependencies, hints, proofs, show, table, workers
from pypimirror.cli.display.amounts import amount, when
from pypimirror.cli.display.output import escape, out, print_json, set_up_logging
from pypimirror.cli.display.table import Column
from pypimirror.cli.errors import no_mirror
from pypimirror.config.settings import Config, ConfigError, load
from pypimirror.domain import documents
from pypimirror.domain.durations import parse_duration
from pypimirror.domain.model import ProjectName, Stage
from pypimirror.domain.sizes import number_of
from pypimirror.pipeline.closure import needs
from pypimirror.select.selection import Selection
from pypimirror.status import stages
from pypimirror.storage.opening import has_files
from pypimirror.system import clock


def check_there(config: Config) -> None:
    """Raise `ConfigError` if there is no mirror yet, or its catalog is lost."""
    if not is_absent(config.catalog_url):
        return
    if has_files(config.directory, config.bucket):
        raise ConfigError(
            f"{config.shown}: has files, but no catalog; 'pypimirror adopt' makes a catalog from "
            "them"
        )
    raise no_mirror(config.shown)


@contextmanager
def open_catalog(config: Config) -> Iterator[Catalog]:
    """Open the catalog of a mirror for reading; raises `ConfigError` if there is none."""
    check_there(config)
    catalog = Catalog.open(config.catalog_url, reading=True)
    with closing(catalog), damage.opened(catalog):
        yield catalog


def perform_status(
    projects: Sequence[str] = (),
    *,
    plot: bool = False,
    config: Path | None = None,
    as_json: bool = False,
    verbose: int = 0,
    quiet: bool = False,
) -> None:
    """Do what `pypimirror status` is asked for."""
    set_up_logging(verbose, quiet)
    status(load(config), projects, as_json=as_json, plot=plot)


def status(config: Config, names: Sequence[str], *, as_json: bool, plot: bool = False) -> None:
    """Show the mirror as a whole, or some of its projects file by file; `plot` adds charts."""
    with open_catalog(config) as catalog:
        if names:
            _project_status(config, catalog, names, as_json=as_json)
        else:
            _mirror_status(config, catalog, as_json=as_json)
            if plot and not as_json:
                _plot(config, catalog)


def _mirror_status(config: Config, catalog: Catalog, *, as_json: bool) -> None:
    with catalog.read() as connection:
        last = runs.find(connection, "last")
        by_state, size = totals.by_state(connection)
        document: documents.Status = {
            "directory": str(config.directory),
            "storage": None if config.bucket is None else config.bucket.shown,
            "projects": totals.held(connection).projects,
            "files": by_state,
            "bytes": size,
            "kept": dict(
                zip(("files", "projects"), withdrawals.count_kept(connection), strict=True)
            ),
            "released": files.count_released(connection),
            "dependencies": dependencies.document(marks.read(connection, CLOSURE)),
            "last_run": show.run_document(last) if last else None,
        }
    if as_json:
        print_json(document)
        return
    out.print(f"Mirror {escape(config.shown)}")
    out.print(
        f"  {number_of(document['projects'], 'project')}, {amount(document['bytes'])} verified"
    )
    counts = (f"{number} {state}" for state, number in document["files"].items() if number)
    out.print(f"  files: {', '.join(counts) or 'none'}")
    if document["kept"]["files"]:
        kept = document["kept"]
        out.print(
            f"  {number_of(kept['files'], 'file')} of {number_of(kept['projects'], 'project')} "
            "stay here though the upstream deleted them"
        )
    if document["released"]:
        out.print(
            f"  {number_of(document['released'], 'file')} without proof, here because of "
            "'pypimirror quarantine release'"
        )
    for line in dependencies.lines(document["dependencies"]):
        out.print(f"  {escape(line)}")
    if document["last_run"]:
        run = document["last_run"]
        started = when(run["started_at"])
        out.print(f"  last run: {run['run']} {show.styled(run['state'])}, started {started}")
        if run["state"] not in (COMPLETED, RUNNING):
            told = hints.typed("'pypimirror runs show last' says what it left undone")
            out.print(f"  {escape(told)}")


def _plot(config: Config, catalog: Catalog) -> None:
    from pypimirror.cli.display import charts
    from pypimirror.status import overview

    with catalog.read() as connection:
        charts.of_mirror(overview.read(connection, config, clock.now()))


def _project_status(
    config: Config, catalog: Catalog, names: Sequence[str], *, as_json: bool
) -> None:
    wanted = {canonicalize_name(name): name for name in names}
    with catalog.read() as connection:
        rows = projects.by_name(connection, list(wanted))
        missing = [wanted[name] for name in sorted(wanted.keys() - {row.name for row in rows})]
        if missing:
            raise ConfigError(f"{', '.join(missing)}: not in this mirror; see select.projects")
        held = list(files.of_projects(connection, [row.id for row in rows]))
        brought = Brought(
            needs.remembered(connection, Selection(config)),
            {
                (project, record.filename): record
                for project, records in asked.of_projects(connection, wanted).items()
                for record in records
            },
        )
    found = [_project_document(row, held, brought) for row in rows]
    if as_json:
        print_json({"projects": found})
        return
    for document in found:
        _show_project(document)


class Brought(NamedTuple):
    """Why files are here."""

    selection: Selection
    asked: Mapping[tuple[str, str], AskedRecord]  #: by project and file name

    def is_selected(self, project: str, filename: str) -> bool:
        """Whether `[select]` asks for a file, whatever clients ask for."""
        return self.selection.selects(ProjectName(project), filename)

    def document(self, project: str, filename: str) -> documents.RequestTimes | None:
        """Return when clients asked for a file; None if they did not."""
        record = self.asked.get((project, filename))
        if record is None:
            return None
        return {
            "since": record.asked_at,
            "since_iso": documents.iso(record.asked_at),
            "last": record.used_at,
            "last_iso": documents.iso(record.used_at),
        }


def _project_document(
    row: ProjectRecord, held: Sequence[FileRecord], brought: Brought
) -> documents.HeldProject:
    return {
        "project": row.name,
        "upstream": row.upstream,
        "serial": row.serial,
        "status": row.status or "active",
        "gone": row.removal_cause,
        "kept": row.kept,
        "kept_iso": documents.iso(row.kept),
        "files": [
            {
                "file": file.filename,
                "state": word(file.state, file.last_error),
                "proof": proofs.document(file),
                "size": file.size,
                "sha256": file.sha256.hex() if file.sha256 else None,
                "core_metadata": file.metadata_sha256 is not None,
                "kept": file.kept,
                "kept_iso": documents.iso(file.kept),
                "tries": _tries(file),
                "url": file.url,
                "selected": brought.is_selected(row.name, file.filename),
                "asked": brought.document(row.name, file.filename),
            }
            for file in held
            if file.project_id == row.id
        ],
    }


def _tries(file: FileRecord) -> documents.Tries | None:
    """Return the failed tries to get a file; None if the last try did not fail."""
    if file.last_error is None:
        return None
    return {
        "failed": file.attempts or 0,
        "next": file.next_try,
        "next_iso": documents.iso(file.next_try),
        "last_error": file.last_error,
    }


def _show_project(document: documents.HeldProject) -> None:
    out.print(
        f"{document['project']} ({document['status']}) from {document['upstream']}, "
        f"serial {document['serial']}"
    )
    table.show(_FILES, map(_file_row, document["files"]))
    for file in document["files"]:
        if file["asked"] is not None:
            besides = "is selected, and " if file["selected"] else ""
            since, last = when(file["asked"]["since"]), when(file["asked"]["last"])
            times = f"for its last fetch on {since}, and last on {last}"
            text = f"{file['file']}: {besides}clients asked for it {times}"
            out.print(f"  {escape(text)}")


_FILES = (
    Column("file"),
    Column("state", plain=True),
    Column("proof", plain=True),
    Column("size", right=True, plain=True),
    Column("sha256"),
)


def _file_row(file: documents.HeldFile) -> tuple[str, ...]:
    size = "" if file["size"] is None else amount(file["size"])
    state = file["state"] if file["kept"] is None else f"{file['state']}, deleted upstream"
    return file["file"], state, proofs.text(file["proof"]), size, file["sha256"] or ""


def list_runs(config: Config, limit: int, since: str | None, *, as_json: bool) -> None:
    """List the newest runs; with `since`, those that began then or later."""
    start = None if since is None else moment(since, time.time())
    with open_catalog(config) as catalog, catalog.read() as connection:
        found = [show.run_document(row) for row in runs.recent(connection, limit, start)]
        if as_json:
            print_json({"runs": found})
        else:
            show.run_table(found)


def moment(text: str, now: float) -> float:
    """Parse a date, a date with a time, or an age; return seconds since the epoch.

    A time without a zone is in this machine's zone. Raises `ConfigError` for anything else.
    """
    try:
        return now - parse_duration(text).total_seconds()
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"--since {text}: must be a date such as 2026-01-31, a date with a time such as "
            "2026-01-31T03:00, or an age such as 7d"
        ) from error


class RunParts(NamedTuple):
    """Which parts of a run to show."""

    stage: Stage | None = None  #: only this stage, batch by batch
    failures: bool = False  #: only the failures, all of them
    files: bool = False  #: also the files that it proved, with their proofs
    arguments: bool = False  #: all projects that it was called with, however many
    plot: bool = False  #: charts


def show_run(config: Config, name: str, parts: RunParts, *, as_json: bool) -> None:
    """Explain one run, or parts of it."""
    with open_catalog(config) as catalog, catalog.read() as connection:
        row = runs.find(connection, name)
        if row is None:
            raise ConfigError(f"{name}: there is no such run; 'pypimirror runs' lists them")
        document = cast("documents.RunDetails", show.run_document(row))
        if not parts.failures:
            found = [stages.batch(each) for each in batches.of_run(connection, row.id, parts.stage)]
            document["workers"] = [
                workers.document(each) for each in working.of_run(connection, row.id)
            ]
            document["totals"] = stages.of(found)
            document["stages"] = found
        document["failures"] = [
            show.failure_document(failure)
            for failure in runs.failures_of(connection, row.id, parts.stage)
        ]
        if not as_json:
            _print_run(document, parts)
            if parts.plot:
                _plot_run(connection, row)
        if parts.files:
            proofs.stream(
                files.proven_by(connection, row.id, row.started_at), document, in_json=as_json
            )
        elif as_json:
            print_json(document)


def _plot_run(connection: Connection, row: RunRecord) -> None:
    from pypimirror.cli.display import charts
    from pypimirror.status import history

    page = history.read(connection, row.name)
    assert page is not None
    found = [stages.batch(each) for each in batches.of_run(connection, row.id)]
    charts.of_run(found, page["workers"], page["failures"])


def _print_run(document: documents.RunDetails, parts: RunParts) -> None:
    show.run_details(document, whole=parts.arguments)
    if parts.failures:
        show.failure_list(document["failures"])
        return
    if parts.stage is None:
        workers.show_all(document["workers"])
        show.stage_table(document["totals"], "batches")
    else:
        show.stage_table(document["stages"], "batch")
    # Denied files are in the list of failures. If the run counted them apart, they are none.
    is_apart = bool(document["counts"].get("files_denied"))
    denied: list[documents.Attempted] = []
    rest: list[documents.Attempted] = []
    for failure in document["failures"]:
        is_denied = is_apart and failure["reason"] == DENIED and failure["file"]
        (denied if is_denied else rest).append(failure)
    show.kept_back([(f["file"], f["message"]) for f in denied], document["run"])
    show.failures(
        ((f["stage"], f["project"], f["file"], f["reason"], f["message"]) for f in rest),
        document["run"],
    )
