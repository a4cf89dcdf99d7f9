"""Evict files that clients asked for: these may take only the space that `[on_demand]` allows.

The rules:

* A file that `[select]` asks for as well is neither evicted nor counted.
* A file is evicted if `[on_demand]` does not let clients ask for it any more, or if nobody has used
  it for the time `keep`. Then, while the other files take more than `max_size`, the least recently
  used one is evicted. Ties are decided by name.
* A file that a worker fetches now stays.
* One transaction decides: it deletes rows of `asked`, and marks their files as no longer offered.
  Then they leave like deselected files: first their pages, and after the grace period their bytes.
  So a killed run leaves nothing half done, and the deletion guard does not count these files.

Every sync does this at its beginning. A fetcher does it in a short run (`short_run`), if `is_due`.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries import entries, withdrawals
from pypimirror.catalog.queries.work import asked
from pypimirror.catalog.queries.work.asked import RequestedFile
from pypimirror.config.settings import Config
from pypimirror.domain.durations import spoken
from pypimirror.domain.model import ProjectName, Stage
from pypimirror.domain.sizes import amount, number_of
from pypimirror.pipeline import history
from pypimirror.pipeline.closure import needs
from pypimirror.pipeline.publish import finishing
from pypimirror.pipeline.run import Run
from pypimirror.select.selection import Selection, policy


class Evicted(Struct, frozen=True):
    """The files to evict, by the reason."""

    barred: list[RequestedFile]  #: clients may not ask for them any more
    unused: list[RequestedFile]  #: for longer than `keep`
    beyond: list[RequestedFile]  #: `max_size`

    @property
    def files(self) -> list[RequestedFile]:
        """All of them."""
        return [*self.barred, *self.unused, *self.beyond]


def choose(connection: Connection, config: Config, selection: Selection, now: float) -> Evicted:
    """Decide which files are evicted at the time `now`."""
    allowed, limits = policy(config), config.on_demand
    before = now - limits.keep.total_seconds() if limits.keep else 0.0
    found = Evicted([], [], [])
    stays: list[RequestedFile] = []
    for file in asked.held(connection):
        if selection.selects(ProjectName(file.project), file.filename):
            continue
        if not allowed.project(ProjectName(file.project)):
            found.barred.append(file)
        elif file.used_at < before:
            found.unused.append(file)
        else:
            stays.append(file)
    size = sum(file.size for file in stays)
    for file in stays:  # the least recently used one first
        if not limits.max_size or size <= limits.max_size:
            break
        found.beyond.append(file)
        size -= file.size
    return found


def is_due(connection: Connection, config: Config, selection: Selection, now: float) -> bool:
    """Whether a short run has something to do: evict files, or write the root index."""
    selection = needs.remembered(connection, selection)
    return entries.is_to_relist(connection, with_gone=False) or bool(
        choose(connection, config, selection, now).files
    )


def short_run(run: Run) -> None:
    """Do the work of a run with the command `evict`: evict files, and write the root index."""
    with history.stage(run, Stage.PUBLISH, 1, whole=True):
        finishing.finish(evict(run))


def evict(run: Run) -> Run:
    """Evict files, and say how many. They leave at the end of the run.

    Return a run that does not select them any more. A run that is limited to some work evicts
    nothing.
    """
    if run.names is not None or run.retry is not None:
        return run
    with run.catalog.read() as connection:
        if asked.oldest(connection) is None:
            return run
    with run.catalog.write() as connection:
        going = choose(connection, run.config, run.selection, run.now)
        if not going.files:
            return run
        asked.drop(connection, ((file.project, file.filename) for file in going.files))
        ids = (file.file_id for file in going.files if file.file_id is not None)
        withdrawals.deselect(connection, ids)
        selection = needs.remembered(connection, run.selection)
        names = dict.fromkeys(file.project for file in going.files)
        needs.let_go(connection, selection, names, guarded=False)
    run.ledger.count(files_evicted=len(going.files))
    run.reporter.announce(_told(run, going))
    return replace(run, selection=selection)


def _told(run: Run, going: Evicted) -> str:
    """Say how many files are evicted, and why."""
    limits = run.config.on_demand
    reasons: list[tuple[Iterable[RequestedFile], str]] = [
        (going.barred, "on_demand.projects does not allow any more"),
        (going.unused, f"nobody used for {spoken(limits.keep.total_seconds())}"),
        (going.beyond, f"are more than on_demand.max_size ({limits.max_size} bytes) allows"),
    ]
    parts = [f"{len(list(files))} that {why}" for files, why in reasons if files]
    size = sum(file.size for file in going.files)
    return (
        f"This mirror lets {number_of(len(going.files), 'file')} go ({amount(size)}) that clients "
        f"had asked for: {', '.join(parts)}. Their bytes go after the grace period."
    )
