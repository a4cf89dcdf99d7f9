"""One run at a time on any number of machines: a lease in the catalog, renewed by a heartbeat.

The lock of `pypimirror.storage.lock` protects one machine and dies with its holder. If machines
share a catalog, the lease protects the mirror. Its rules:

* A process takes it if nobody has it, if its holder is known to be dead
  (`pypimirror.catalog.holder`), or if the holder's fate is unknown and it sent no heartbeat for
  `LeaseTimes.lifetime`.
* The holder renews it every `LeaseTimes.heartbeat`. If that fails for too long, the holder stops
  itself, `LeaseTimes.margin` before anybody else may take over. From then on it writes neither to
  the catalog nor to served files, because both ask `Lease.check` first.
* The time while a machine sleeps counts, if the system has a clock that counts it.
* A dead holder whose clock was ahead may have noted an end that is too late. A process that is
  refused by such a lease shortens it to a normal lifetime.
* On SQLite, a process that wants the lease waits for the writer, so a late heartbeat is harmless
  there.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec import Struct

from pypimirror.catalog import holder
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.engines import errors
from pypimirror.catalog.holder import Holder
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.queries import leases, runs
from pypimirror.domain.errors import LockedError, refusal
from pypimirror.domain.model import Problem, PypimirrorError, Reason
from pypimirror.system import clock


class LeaseTimes(Struct, frozen=True):
    """The times of a lease, in seconds."""

    lifetime: float = 60.0  #: a holder without a heartbeat for so long counts as dead
    heartbeat: float = 10.0  #: between two renewals
    again: float = 1.0  #: between two attempts at a renewal
    margin: float = 15.0  #: a holder stops itself so long before the end


PACE = LeaseTimes()

#: The tokens of the leases that this process holds.
_holding: set[str] = set()

log = logging.getLogger(__name__)


class LostError(PypimirrorError):
    """This process must stop: another one has its work, or may take it soon."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.problem = Problem(Reason.LOCK, message)


class LeaseLostError(LostError):
    """Another process works on the mirror, or may do so soon."""


class Expiring(ABC):
    """Something in the catalog that expires unless this process renews it.

    Safe to use from several threads.
    """

    what = ""  #: its name in messages
    robbed = ""  #: the cause of its loss if another process has taken it

    def __init__(self, catalog: Catalog, me: Holder, pace: LeaseTimes) -> None:
        self.lost: LostError | None = None
        #: Called once, in any thread, when it is lost.
        self.on_lost: Callable[[], None] = lambda: None
        self._catalog = catalog
        self._me = me
        self._pace = pace
        self._expires = catalog.file is None
        self._good_until = 0.0
        self._ended = threading.Event()
        self._losing = threading.Lock()

    @abstractmethod
    def renew(self, connection: Connection) -> bool:
        """Renew it for `LeaseTimes.lifetime`. Return False if another process has taken it."""

    @abstractmethod
    def give_back(self) -> None:
        """Stop the heartbeat and release it."""

    @abstractmethod
    def lost_by(self, cause: str) -> LostError:
        """Return the error for its loss."""

    def check(self) -> None:
        """Raise `LostError` if this process must stop."""
        if self.lost is None and self._is_late():
            self._lose("the catalog could not be reached for too long")
        if self.lost is not None:
            raise self.lost

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """Renew it in a thread of its own, and give it back at the end."""
        beat = threading.Thread(target=self.keep, name=self.what, daemon=True)
        beat.start()
        try:
            yield
        finally:
            self.give_back()
            beat.join()

    def keep(self) -> None:
        """Renew it until it is given back or lost."""
        pause = self._pace.heartbeat
        while not self._ended.wait(pause):
            asked = clock.steady()
            try:
                with self._catalog.aside() as connection:
                    kept = self.renew(connection)
            except errors.SQLAlchemyError as error:
                message = errors.message(error)
                log.warning("the %s could not be renewed: %s", self.what, message)
                if self._is_late():
                    self._lose(f"the catalog could not be reached: {message}")
                    return
                pause = self._pace.again
                continue
            if not kept:
                if self._ended.is_set():  # it was given back in the meantime
                    return
                self._lose(self.robbed)
                return
            self._taken(asked)
            pause = self._pace.heartbeat

    def _taken(self, asked: float) -> None:
        """Note that this process has it. `asked` is the time before it asked for it."""
        self._good_until = asked + self._pace.lifetime

    def _is_late(self) -> bool:
        return self._expires and self._is_overdue()

    def _is_overdue(self) -> bool:
        return clock.steady() > self._good_until - self._pace.margin

    def _lose(self, cause: str) -> None:
        with self._losing:
            if self.lost is not None:
                return
            self.lost = self.lost_by(cause)
        if not self._ended.is_set():  # else it was given back
            log.error("%s", self.lost)
        self.on_lost()


class Lease(Expiring):
    """The lease that this process holds."""

    what = "lease"
    robbed = "another run has taken the mirror over"

    def take(self, claim: Callable[[Connection], None]) -> None:
        """Take the lease, unless `claim` raises an error in the same transaction.

        Raises `LockedError` at once if another process has it.
        """
        # Read first: the holder may be in a long transaction, and waiting for it would be useless.
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
        self._taken(asked)
        _holding.add(self._me.token)

    def _refuse(self, connection: Connection, held: leases.TakenLease | None) -> None:
        """Raise `LockedError` if another process holds the lease."""
        if held is None or not held.is_in_force(self._me.machine):
            return
        ours = (held.holder.pid, held.holder.started) == (self._me.pid, self._me.started)
        if ours and held.holder.machine == self._me.machine and held.holder.token not in _holding:
            return  # it belongs to an earlier run of this process that could not give it back
        run = runs.under_way(connection, held.holder.pid, held.holder.machine.host)
        raise LockedError(*_refusal(held, run))

    def renew(self, connection: Connection) -> bool:
        """Renew the lease."""
        return leases.renew(connection, self._me, self._pace.lifetime)

    def lost_by(self, cause: str) -> LeaseLostError:
        """Return the error for its loss."""
        return LeaseLostError(
            f"this run has lost its lease on the mirror and stopped: {cause}. Its work so far "
            "is kept; the next sync continues from there"
        )

    def give_back(self) -> None:
        """Stop the heartbeat and release the lease."""
        self._ended.set()
        _holding.discard(self._me.token)
        if self.lost is None:
            try:
                with self._catalog.aside() as connection:
                    leases.drop(connection, self._me)
            except errors.SQLAlchemyError as error:  # then it expires
                log.warning("the lease could not be given back: %s", errors.message(error))


@contextmanager
def hold(catalog: Catalog, claim: Callable[[Connection], None]) -> Iterator[Lease]:
    """Hold the catalog's lease and renew it. If `claim` raises an error, it is not taken.

    Raises `LockedError` at once if another process has it.
    """
    lease = Lease(catalog, holder.this_process(holder.this_machine()), PACE)
    lease.take(claim)
    with lease.renewed():
        yield lease


def _refusal(held: leases.TakenLease, run: str) -> tuple[str, str]:
    remedy = "wait for it to end, or stop it"
    if held.left > 0:
        remedy += f". If it is dead already, try again in {held.left:.0f} s"
    else:
        remedy += ": it has sent no heartbeat for long, but its process exists"
    return refusal("another run", run, str(held.holder), remedy)
