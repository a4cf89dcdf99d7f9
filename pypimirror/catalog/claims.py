"""Projects of one run shared between workers: claims in the catalog, which expire with a worker.

A worker is a process that takes batches of projects through the stages. Its rules:

* A project with work belongs to the worker that has claimed it. Nobody claims it again in the same
  run, unless its worker is lost. So a project that failed is for the next run.
* A worker renews all its claims at once, every `LeaseTimes.heartbeat`. It is lost if its process is
  known to be dead, or if it sent no heartbeat for `LeaseTimes.lifetime`. Its process may still
  exist, because it may be stopped. A worker that finds no free project takes over the claims of
  lost workers.
* A lost worker commits nothing. Each writing transaction first asks whether the worker still has
  its claims (`Worker.fence`). Until that transaction ends, nobody can take over its claims.
* A lost worker changes no served file either: the storage asks `Worker.check` first. On PostgreSQL,
  it refuses `LeaseTimes.margin` before others may take over, by the clock of this process. On
  SQLite, a late process checks whether anybody has taken over.
* At the end of a run, its workers have ended, and all claims are deleted.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from pypimirror.catalog import holder, lease
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.engines import errors
from pypimirror.catalog.holder import Holder
from pypimirror.catalog.lease import Expiring, LeaseTimes, LostError
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.queries.projects import chunks
from pypimirror.catalog.queries.work import claims, requests, workers
from pypimirror.catalog.states import CANCELLED, COMPLETED, FAILED, LOST
from pypimirror.domain.addresses import redacted
from pypimirror.domain.model import ProjectName
from pypimirror.system import clock
from pypimirror.system.workers import Cancelled

log = logging.getLogger(__name__)


class ClaimLostError(LostError):
    """Other workers have taken over the claims of this one, or may do so soon."""


def number_free(
    catalog: Catalog, at_most: int, names: Sequence[ProjectName] | None, after: int = 0
) -> int:
    """Return the number of projects that can be claimed, or `at_most` if there are more.

    Without `names`, only those after id `after` are counted.
    """
    parts: Iterable[tuple[int, Sequence[ProjectName] | None]]
    parts = [(after, None)] if names is None else ((0, part) for part in chunks(names))
    number = 0
    with catalog.aside() as connection:  # for its settings
        for first, part in parts:
            number += claims.number_free(connection, first, at_most - number, part)
            if number == at_most:
                break
    return number


class Worker(Expiring):
    """A worker of a run, in this process. Safe to use from several threads."""

    what = "claims"
    robbed = "others have taken them over"

    def __init__(self, catalog: Catalog, run_id: int, me: Holder, pace: LeaseTimes) -> None:
        super().__init__(catalog, me, pace)
        self.id = 0
        self.run_id = run_id
        #: How it ended, and why, if not as planned.
        self.state, self.message = COMPLETED, ""
        self._batches = itertools.count(1)
        self._after = 0  # the id of the last project that it has claimed
        self._numbers: dict[tuple[int, ...], int] = {}  # of the batches that it has
        self._done = (0, 0)  # batches and projects
        self._releasing = threading.Lock()

    def begin(self, executor: str, name: str) -> None:
        """Record this worker. It has no claims yet."""
        asked = clock.steady()
        self.id = self._catalog.apply(
            lambda connection: workers.start(
                connection, self.run_id, executor, name, self._me, self._pace.lifetime
            ),
            aside=True,
        )
        self._taken(asked)

    def claim(self, size: int, names: Sequence[ProjectName] | None = None) -> tuple[int, ...]:
        """Claim up to `size` projects with work, among `names` if there are some.

        Return their ids. None means that no project is free; other workers may still be at work.
        Raises `ClaimLostError`.
        """
        self._catalog.guard()
        batch = next(self._batches)
        is_first = True

        def change(connection: Connection) -> list[int]:
            nonlocal is_first
            self.fence(connection)
            # If the answer to the first commit was lost, this worker has claims already.
            found = [] if is_first else claims.of_batch(connection, self.id, batch)
            is_first = False
            found = found or self._take(connection, batch, size, names)
            if not found and self._take_over(connection):
                found = self._take(connection, batch, size, names)
            return found

        found = tuple(self._catalog.apply(change, aside=True))
        if found:
            self._after = found[-1]
            self._numbers[found] = batch
        return found

    def _take(
        self, connection: Connection, batch: int, size: int, names: Sequence[ProjectName] | None
    ) -> list[int]:
        """Claim free projects: those after the last one first, else from the beginning."""
        tries: Iterable[tuple[int, Sequence[ProjectName] | None]]
        if names is None:
            tries = dict.fromkeys([(self._after, None), (0, None)])
        else:
            tries = ((0, chunk) for chunk in chunks(names))
        for after, some in tries:
            if found := claims.take(connection, self.id, batch, after, size, some):
                return found
        return []

    def _take_over(self, connection: Connection) -> bool:
        """Free the claims of lost workers. Return whether there were any such workers."""
        others = workers.others(connection, self.run_id, self.id)
        gone = [other for other in others if other.is_gone(self._me.machine)]
        if not gone:
            return False
        late = [other.id for other in gone if other.left <= 0]
        dead = [other.id for other in gone if other.left > 0]
        lost = workers.lose(connection, dead, late)
        claims.drop(connection, lost)
        return bool(lost)

    def number_free(self, at_most: int, names: Sequence[ProjectName] | None = None) -> int:
        """Return the number of projects that can be claimed, or `at_most` if there are more."""
        return number_free(self._catalog, at_most, names, self._after)

    def release(self, batch: tuple[int, ...], counts: Mapping[str, int]) -> None:
        """Give back the claims of a finished batch, as `claim` returned it.

        `counts` are those of all the work of this worker so far. Raises `ClaimLostError`.
        """

        def change(connection: Connection) -> None:
            self.fence(connection)
            workers.progress(connection, self.id, done[0], done[1], counts)
            claims.release(connection, self.id, number)

        with self._releasing:  # a later number must not be overwritten by an earlier one
            done = (self._done[0] + 1, self._done[1] + len(batch))
            number = self._numbers[batch]
            self._catalog.apply(change, aside=True)
            self._done = done
            del self._numbers[batch]

    def claim_these(self, names: Sequence[ProjectName], batch: int) -> dict[int, ProjectName]:
        """Claim those of these projects that are free, for a request. Return their names by id.

        They need not have work: their pages will be decided on again. None is free while a run is
        alone with the mirror (`queries.work.requests`). Raises `ClaimLostError`.
        """
        self._catalog.guard()

        def change(connection: Connection) -> dict[int, ProjectName]:
            self.fence(connection)
            return requests.take(connection, self.id, batch, names, self._me.machine)

        return self._catalog.apply(change, aside=True)

    def drop(self, connection: Connection, number: int, counts: Mapping[str, int]) -> None:
        """Give back all claims in a transaction: a request with this number of projects has ended.

        `counts` are those of all the work of this worker so far.
        """
        self.fence(connection)
        self._done = (self._done[0] + 1, self._done[1] + number)
        workers.progress(connection, self.id, *self._done, counts)
        claims.drop(connection, [self.id])

    def fence(self, connection: Connection) -> None:
        """Raise `ClaimLostError` if others have taken over. Call it first in a transaction."""
        if not workers.is_working(connection, self.id):
            self._lose(self.robbed)
            self.check()

    def check(self) -> None:
        """Raise `ClaimLostError` if this process must stop."""
        if not self._expires and self.lost is None and self._is_overdue():
            with self._catalog.read() as connection:
                if not workers.is_working(connection, self.id):
                    self._lose(self.robbed)
        super().check()

    def renew(self, connection: Connection) -> bool:
        """Renew the claims."""
        return workers.renew(connection, self.id, self._pace.lifetime)

    def lost_by(self, cause: str) -> ClaimLostError:
        """Return the error for their loss."""
        return ClaimLostError(
            f"a worker on {self._me.machine.host} has lost its claims and stopped: {cause}. Its "
            "work so far is kept; another worker, or the next sync, continues from there"
        )

    def fail(self, message: str) -> None:
        """Note that this worker could not go on."""
        self.state, self.message = FAILED, message

    def give_back(self) -> None:
        """Stop the heartbeat, record how this worker ended, and free its unfinished projects."""
        self._ended.set()
        state, message = self.state, self.message
        if self.lost is not None:
            state, message = LOST, str(self.lost)
        try:
            with self._catalog.aside() as connection:
                # All lock the table, the worker and its claims in this order. Otherwise two
                # transactions could wait for each other.
                requests.wait_for_turns(connection)
                workers.end(connection, self.id, state, message)
                claims.drop(connection, [self.id])
        except errors.SQLAlchemyError as error:  # then they expire
            log.warning("the claims could not be given back: %s", errors.message(error))


def _shown(error: BaseException) -> str:
    """Return the message of an error for the history, without statements and logins."""
    if isinstance(error, errors.SQLAlchemyError):
        return redacted(errors.message(error))
    return redacted(str(error))


@contextmanager
def hold(catalog: Catalog, run_id: int, *, executor: str, name: str) -> Iterator[Worker]:
    """Be a worker of a run: nothing is written to the catalog once its claims are lost.

    The caller must let the storage ask `Worker.check`. Raises `ClaimLostError` if they were lost.
    """
    worker = Worker(catalog, run_id, holder.this_process(holder.this_machine()), lease.PACE)
    worker.begin(executor, name)
    guard = catalog.guard

    def check() -> None:
        guard()
        worker.check()

    with worker.renewed():
        catalog.guard, catalog.fence = check, worker.fence
        try:
            yield worker
        except BaseException as error:
            is_cancelled = isinstance(error, Cancelled) or not isinstance(error, Exception)
            worker.state, worker.message = CANCELLED if is_cancelled else FAILED, _shown(error)
            if is_cancelled and worker.lost is not None:  # it was cancelled because of that
                raise worker.lost from error
            raise
        finally:
            catalog.guard, catalog.fence = guard, lambda _: None
