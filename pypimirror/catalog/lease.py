"""One run at a time on any number of machines: a lease in the catalog, kept by a heartbeat.

The lock of `pypimirror.storage.lock` guards one machine and dies with its holder. Where machines
share a catalog, the lease guards the mirror. Its rules:

* It is taken when nobody has it, when its holder is known to be dead (`pypimirror.catalog.holder`),
  or when nothing was heard of a holder for `Pace.lifetime`, of whom no more is known.
* Its holder renews it every `Pace.heartbeat`. When that has failed for too long, the holder stops
  itself, `Pace.margin` before anybody else may take over; it writes neither to the catalog nor
  to what is served from then on, because both ask `Lease.check` first.
* Time that passes while a machine sleeps counts, where the system has a clock that counts it.
* What the clock of a dead holder that was ahead has noted is bounded: whoever is refused by a lease
  that ends later than any can has it end as those do that are renewed just now.
* On SQLite, who wants the lease waits for the writer, so a late heartbeat loses nothing there.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from pypimirror.catalog import engines, holder
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.holder import Holder
from pypimirror.catalog.queries import leases, runs
from pypimirror.domain.errors import LockedError, refusal
from pypimirror.domain.model import Problem, PypimirrorError, Reason
from pypimirror.system import clock


@dataclass(frozen=True)
class Pace:
    """The times of a lease, in seconds."""

    lifetime: float = 60.0  #: after which a holder of whom nothing is heard counts as dead
    heartbeat: float = 10.0  #: between two renewals
    again: float = 1.0  #: between two attempts at one
    margin: float = 15.0  #: before the end, when a holder stops itself


PACE = Pace()

#: The tokens of the leases that this process holds.
_holding: set[str] = set()

log = logging.getLogger(__name__)


class LeaseLostError(PypimirrorError):
    """This process may not go on: another one may work on the mirror soon, or does."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(Reason.LOCK, message)


class Lease:
    """The lease, held by this process. Safe to use from several threads."""

    def __init__(self, catalog: Catalog, me: Holder, pace: Pace) -> None:
        self.lost: LeaseLostError | None = None
        #: Called once, in any thread, when it is lost.
        self.on_lost: Callable[[], None] = lambda: None
        self._catalog = catalog
        self._me = me
        self._pace = pace
        self._expires = catalog.engine.dialect.name != "sqlite"
        self._good_until = 0.0
        self._ended = threading.Event()
        self._losing = threading.Lock()

    def take(self, claim: Callable[[Connection], None]) -> None:
        """Take it, if `claim` does not object in the same transaction.

        Raises `LockedError` at once when another process has it.
        """
        # Its holder may be in a long transaction, which nobody is to wait for in vain.
        with self._catalog.read() as connection:
            found = leases.find(connection, change=False)
            is_ahead = found is not None and found.left > self._pace.lifetime + clock.SLACK
            if not is_ahead:
                self._refuse(connection, found)
        if is_ahead:
            with self._catalog.write() as connection:
                leases.shorten(connection, self._pace.lifetime)
        asked = clock.steady()
        with self._catalog.write() as connection:
            self._refuse(connection, leases.find(connection, change=True))
            claim(connection)
            leases.put(connection, self._me, self._pace.lifetime)
        self._good_until = asked + self._pace.lifetime
        _holding.add(self._me.token)

    def _refuse(self, connection: Connection, held: leases.TakenLease | None) -> None:
        if held is None or not held.is_in_force(self._me.machine):
            return
        ours = (held.holder.pid, held.holder.started) == (self._me.pid, self._me.started)
        if ours and held.holder.machine == self._me.machine and held.holder.token not in _holding:
            return  # an earlier run of this process could not give it back
        run = runs.under_way(connection, held.holder.pid, held.holder.machine.host)
        raise LockedError(*_refusal(held, run))

    def check(self) -> None:
        """Raise `LeaseLostError` when this process may not go on."""
        if self.lost is None and self._is_late():
            self._lose("the catalog could not be reached for too long")
        if self.lost is not None:
            raise self.lost

    def keep(self) -> None:
        """Renew it until it is given back or lost."""
        pause = self._pace.heartbeat
        while not self._ended.wait(pause):
            asked = clock.steady()
            try:
                with self._catalog.aside() as connection:
                    kept = leases.renew(connection, self._me, self._pace.lifetime)
            except SQLAlchemyError as error:
                log.warning("the lease could not be renewed: %s", engines.message(error))
                if self._is_late():
                    self._lose(f"the catalog could not be reached: {engines.message(error)}")
                    return
                pause = self._pace.again
                continue
            if not kept:
                if self._ended.is_set():  # given back, while this waited for the catalog
                    return
                self._lose("another run has taken the mirror over")
                return
            self._good_until = asked + self._pace.lifetime
            pause = self._pace.heartbeat

    def give_back(self) -> None:
        """End the heartbeat, and leave the lease to whoever comes."""
        self._ended.set()
        _holding.discard(self._me.token)
        if self.lost is None:
            try:
                with self._catalog.aside() as connection:
                    leases.drop(connection, self._me)
            except SQLAlchemyError as error:  # then it expires
                log.warning("the lease could not be given back: %s", engines.message(error))

    def _is_late(self) -> bool:
        return self._expires and clock.steady() > self._good_until - self._pace.margin

    def _lose(self, cause: str) -> None:
        with self._losing:
            if self.lost is not None:
                return
            self.lost = LeaseLostError(
                f"this run has lost its lease on the mirror and stopped: {cause}. What it has done "
                "is kept; the next sync goes on from there"
            )
        log.error("%s", self.lost)
        self.on_lost()


@contextmanager
def hold(catalog: Catalog, claim: Callable[[Connection], None]) -> Iterator[Lease]:
    """Hold the catalog's lease and keep it; what `claim` raises keeps it from being taken.

    Raises `LockedError` at once when another process has it.
    """
    lease = Lease(catalog, holder.this_process(holder.this_machine()), PACE)
    lease.take(claim)
    beat = threading.Thread(target=lease.keep, name="lease", daemon=True)
    beat.start()
    try:
        yield lease
    finally:
        lease.give_back()
        beat.join()


def _refusal(held: leases.TakenLease, run: str) -> tuple[str, str]:
    remedy = "wait for it to end, or stop it"
    if held.left > 0:
        remedy += f". If it is dead already, try again in {held.left:.0f} s"
    else:
        remedy += ": nothing was heard of it for long, but its process is there"
    return refusal("another run", run, str(held.holder), remedy)
