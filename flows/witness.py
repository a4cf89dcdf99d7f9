"""A process that says how a flow run ended where the flow run itself cannot: it was killed.

A worker that is stopped kills its flow runs, without a word to Prefect. So each flow run has a
witness, in a session of its own, which knows by the end of its input that the flow run's process
is gone: it closes the record in the catalog and the flow run in Prefect, as cancelled where the
worker ended too, else as crashed. It imports nothing heavy before that, and outlives nobody by
more than seconds. Where the witness is killed as well, the next run closes the record.

Where the worker is gone and the flow run is not, nobody could cancel it any more: it is told to
end.

    python -P flows/witness.py FLOW-RUN-ID RUN CONFIGURATION WORKER-PID
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

#: What a flow run says that ends by itself, and one that ends early.
_DONE, _ENDING = b"done\n", b"ending\n"

#: Seconds between two attempts to say it.
_PAUSES = (1, 2, 4, 8, 15, 30, 60)

T = TypeVar("T")

#: The inputs of the witnesses that stay; closed by the end of this process.
_open: list[IO[bytes]] = []

#: Seconds after the end of a flow run's process within which a worker that is being stopped ends.
_PATIENCE = 10.0


@contextmanager
def watching(flow_run: str, run: str, config: Path, worker: int | None) -> Iterator[None]:
    """Have this process watched; `worker` is the process that stops it by killing it."""
    command = [sys.executable, "-P", __file__, flow_run, run, str(config), str(worker or 0)]
    # Its output is nobody's: a worker waits until all have let go of what it reads from.
    witness = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    word = _DONE
    try:
        yield
    except BaseException:
        word = _ENDING if worker else _DONE
        raise
    finally:
        with contextlib.suppress(OSError):
            if word is _DONE:
                witness.communicate(_DONE)
            else:
                assert witness.stdin is not None
                _open.append(witness.stdin)
                witness.stdin.write(_ENDING)
                witness.stdin.flush()


def main(flow_run: str, run: str, config: str, worker: str) -> None:
    """Wait for the end of the input, and close what it leaves open."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watched, stopping = os.getppid(), _Process(int(worker))
    if stopping.ends_before_input() and os.getppid() == watched:
        os.kill(watched, signal.SIGTERM)
    said = sys.stdin.buffer.read()
    if said == _DONE:
        return
    sys.path.insert(0, str(Path(__file__).parents[1]))
    cancelled = stopping.ends(_PATIENCE)
    if said == _ENDING and _insist(lambda: _is_closed(flow_run)):
        return  # and the record before it; the mirror may be another run's by now
    message = "Cancelled: its worker was stopped" if cancelled else "Its process was killed"
    _insist(lambda: _close_record(Path(config), run, message, cancelled=cancelled))
    _insist(lambda: _close_flow_run(flow_run, message, cancelled=cancelled))


def _insist(action: Callable[[], T]) -> T | None:
    """Do what may fail for now, such as where Prefect's database is busy; None: in vain."""
    for pause in _PAUSES:
        try:
            return action()
        except Exception:  # noqa: BLE001 - nobody reads what this process could say
            time.sleep(pause)
    return None


class _Process:
    """A process of which only is asked whether it ends."""

    def __init__(self, pid: int) -> None:
        self._descriptor: int | None = None
        self._is_gone = False
        if not pid or sys.platform != "linux":
            return
        try:
            self._descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self._is_gone = True
        except OSError:  # nothing can be known of it
            return

    def ends_before_input(self) -> bool:
        """Wait for this process or for input; whether it was the process."""
        if self._descriptor is None:
            return self._is_gone
        entrance = sys.stdin.fileno()
        ready, _, _ = select.select([self._descriptor, entrance], [], [])
        return entrance not in ready

    def ends(self, seconds: float) -> bool:
        """Whether it ends within this time; never, where that cannot be known."""
        if self._descriptor is None:
            return self._is_gone
        return bool(select.select([self._descriptor], [], [], seconds)[0])


def _close_record(config: Path, run: str, message: str, *, cancelled: bool) -> None:
    from pypimirror import config as configuration
    from pypimirror.catalog import runs
    from pypimirror.lock import LockedError
    from pypimirror.stages.record import open_mirror

    # Another run that works meanwhile has closed the record.
    with (
        contextlib.suppress(LockedError),
        open_mirror(configuration.load(config)) as (catalog, _),
        catalog.write() as connection,
    ):
        runs.close_crashed(connection)
        if cancelled:
            runs.call_cancelled(connection, run, message)


def _is_closed(flow_run: str) -> bool:
    from uuid import UUID

    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(flow_run)).state
    return state is not None and state.is_final()


def _close_flow_run(flow_run: str, message: str, *, cancelled: bool) -> None:
    from uuid import UUID

    from prefect.client.orchestration import get_client
    from prefect.states import Cancelled, Crashed

    with get_client(sync_client=True) as client:
        found = client.read_flow_run(UUID(flow_run))
        if found.state is None or not found.state.is_final():
            state = Cancelled if cancelled else Crashed
            client.set_flow_run_state(found.id, state(message=message), force=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
