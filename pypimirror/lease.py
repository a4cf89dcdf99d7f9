"""One run at a time on any number of machines: a lease in the catalog, kept up by a heartbeat.

The lock of `pypimirror.lock` guards one machine and dies with its holder. Where machines share a
catalog, the holder's lease there guards the mirror; it is taken over when its holder is known to
be dead (same machine, other boot or no such process) or has not been heard of for too long.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from pypimirror.catalog import leases
from pypimirror.catalog.database import Catalog
from pypimirror.lock import LockedError

#: Seconds without a heartbeat after which a holder counts as dead.
LIFETIME = 60.0
#: Seconds between heartbeats: several may be lost before the lease is.
_HEARTBEAT = 10.0

log = logging.getLogger(__name__)


class Holder(msgspec.Struct, frozen=True):
    """Who holds a lease."""

    host: str
    boot: str  #: differs after each start of the machine; "" where that is not known
    pid: int
    started: float  #: seconds since the epoch; tells two processes with one pid apart

    def is_dead(self, here: Holder) -> bool:
        """Whether this holder cannot be alive, as far as that can be told from `here`."""
        if self.host != here.host:
            return False
        if self.boot != here.boot:
            return True
        return self.pid != here.pid and not _is_running(self.pid)


def this_process() -> Holder:
    """Describe the process that asks."""
    return Holder(socket.gethostname(), _boot(), os.getpid(), time.time())


@contextmanager
def hold(catalog: Catalog, on_lost: Callable[[], None]) -> Iterator[None]:
    """Hold the catalog's lease and keep it up.

    Raises `LockedError` at once when another process has it; calls `on_lost`, in a thread of its
    own, when it could not be kept up in time.
    """
    me = this_process()
    text = msgspec.json.encode(me).decode()
    _take(catalog, me, text)
    ended = threading.Event()
    beat = threading.Thread(
        target=_keep_up, args=(catalog, text, ended, on_lost), name="lease", daemon=True
    )
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        with catalog.write() as connection:
            leases.drop(connection, text)


def _take(catalog: Catalog, me: Holder, text: str) -> None:
    with catalog.write() as connection:
        row = leases.get(connection)
        if row is not None:
            holder = msgspec.json.decode(row.holder, type=Holder)
            alive = row.expires_at > time.time() and not holder.is_dead(me)
            if alive and holder.pid != me.pid:
                raise LockedError(
                    f"another run (process {holder.pid} on {holder.host}) is working on this "
                    "mirror; wait for it to end, or stop it"
                )
        leases.put(connection, text, time.time() + LIFETIME)


def _keep_up(
    catalog: Catalog, text: str, ended: threading.Event, on_lost: Callable[[], None]
) -> None:
    good_until = time.monotonic() + LIFETIME
    while not ended.wait(_HEARTBEAT):
        try:
            with catalog.write() as connection:
                kept = leases.renew(connection, text, time.time() + LIFETIME)
        except SQLAlchemyError as error:
            log.warning("the lease could not be renewed: %s", error)
            kept = time.monotonic() < good_until
        else:
            good_until = time.monotonic() + LIFETIME
        if not kept:
            log.error("the lease is lost: another run may be working on this mirror")
            on_lost()
            return


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
