"""A turn of the keeper: claimed projects, the run that works on them, and its record."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from pypimirror.catalog.claims import Worker
from pypimirror.catalog.queries.work import asked, requests
from pypimirror.domain.model import ProjectName
from pypimirror.pipeline import ownership
from pypimirror.pipeline.closure import needs
from pypimirror.pipeline.context.ledger import Ledger
from pypimirror.pipeline.run import Run
from pypimirror.system import clock


@dataclass(frozen=True)
class Turn:
    """Projects that this fetcher has claimed."""

    run: Run
    number: int  #: of the batch
    projects: dict[int, ProjectName]  #: names, by id
    agreed: str  #: as in `ownership.agreed`, before anything was changed


class Turns:
    """Takes turns as `worker`. The selection of `run` is that of a sync, without asked files."""

    def __init__(self, run: Run, worker: Worker) -> None:
        self._run = run
        self._selection = run.selection
        self._worker = worker
        self._numbers = itertools.count(1)
        self._counts: Counter[str] = Counter()

    def take(self, names: Sequence[ProjectName], wanted: Iterable[asked.Pair]) -> Turn:
        """Claim the free ones of these projects. Raises `ClaimLostError`.

        `wanted` are the files to place. Those without a row in `asked` get one: an earlier turn may
        have given up bad bytes of a file and removed its row after a client asked for it again.
        """
        run, now, number = self._run, clock.now(), next(self._numbers)
        found = self._worker.claim_these(names, number)
        with run.catalog.write() as connection:
            agreed = ""
            if found:
                agreed = ownership.agreed(connection, run.storage, self._worker.id)
            for pair in wanted:
                if pair[0] in found.values():
                    asked.ask(connection, pair, self._worker.id, now)
            run_id, name = requests.of_day(connection, run.config.digest(), now)
            # A sync may have found other requirements since; without them, their files would go.
            self._selection = needs.required(connection, self._selection)
        ledger = Ledger(run.catalog, run_id, run.reporter)
        run = replace(run, id=run_id, name=name, now=now, ledger=ledger, selection=self._selection)
        return Turn(run, number, found, agreed)

    def are_used_again(self, pairs: Iterable[asked.Pair]) -> bool:
        """Whether somebody uses one of these files already; see `asked.are_used_again`."""
        with self._run.catalog.read() as connection:
            return asked.are_used_again(connection, pairs)

    def end(self, turn: Turn, placed: Sequence[asked.Pair], given_up: Sequence[asked.Pair]) -> None:
        """Give the projects back, and note the results. Raises `ClaimLostError`.

        Placed files keep their rows in `asked`; the rows of files that were given up are removed.
        """
        run, me = turn.run, self._worker.id
        counts = run.ledger.so_far()
        self._counts.update(counts)

        with run.catalog.write() as connection:
            self._worker.fence(connection)
            ownership.note_changes(connection, run.storage, turn.agreed, me)
            asked.done(connection, placed, me)
            asked.forget(connection, given_up, me)
            requests.add(connection, run.id, counts, clock.now())
            self._worker.drop(connection, len(turn.projects), self._counts)
