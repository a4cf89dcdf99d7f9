"""A process that says how a flow run ended where the flow run itself cannot: it was killed.

A worker that is stopped kills its flow runs, without a word to Prefect. So each flow run has a
witness, in a session of its own, which knows by the end of its input that the flow run's process
is gone: it closes the record in the catalog, where there is one already, and the flow run in
Prefect, as cancelled where the worker ended too, else as crashed. It imports nothing heavy before
that, and outlives nobody by more than seconds. Where the witness is killed as well, the next run
closes the record.

Where the worker is gone and the flow run is not, nobody could cancel it any more: it is told to
end.

    python -P flows/witness.py FLOW-RUN-ID CONFIGURATION WORKER-PID
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
from typing import IO, TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

#: What a flow run says: which run it is, that it has ended by itself, that it ends early.
_RUN, _DONE, _ENDING = "run", "done", "ending"

#: Seconds between two attempts to say it.
_PAUSES = (1, 2, 4, 8, 15, 30, 60)

T = TypeVar("T")

#: The inputs of the witnesses that stay; closed by the end of this process.
_open: list[IO[bytes]] = []

#: Seconds after the end of a flow run's process within which a worker that is being stopped ends.
_PATIENCE = 10.0


class Witness:
    """The process that watches this one."""

    def __init__(self, flow_run: str, config: Path, worker: int) -> None:
        command = [sys.executable, "-P", __file__, flow_run, str(config), str(worker)]
        # Its output is nobody's: a worker waits until all have let go of what it reads from.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._has_worker = bool(worker)
        self._stays = False

    def knows(self, run: str) -> None:
        """Tell it which run of the catalog this process does, now that there is one."""
        self._say(f"{_RUN} {run}")

    def stays(self) -> None:
        """Let it watch until this process is gone, which somebody has told to end.

        They may kill it before Prefect has heard how it ended.
        """
        if self._has_worker and not self._stays:
            self._stays = True
            self._say(_ENDING)
            assert self._process.stdin is not None
            _open.append(self._process.stdin)

    def leaves(self) -> None:
        """Tell it that all is said, unless it stays."""
        if not self._stays:
            with contextlib.suppress(OSError):
                self._process.communicate(f"{_DONE}\n".encode())

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()


@contextmanager
def watching(flow_run: str, config: Path, worker: int | None) -> Iterator[Witness]:
    """Have this process watched; `worker` is the process that stops it by killing it.

    The witness leaves at the end, and stays where an error ends this, or where it was told to.
    """
    witness = Witness(flow_run, config, worker or 0)
    try:
        yield witness
    except BaseException:
        witness.stays()
        raise
    finally:
        witness.leaves()


def main(flow_run: str, config: str, worker: str) -> None:
    """Wait for the end of the input, and close what it leaves open."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stopping = _Process(int(worker))
    said = _listen(stopping)
    if _DONE in said:
        return
    sys.path.insert(0, str(Path(__file__).parents[1]))
    cancelled = stopping.ends(_PATIENCE)
    if _ENDING in said and _insist(lambda: _is_closed(flow_run)):
        return  # and the record before it; the mirror may be another run's by now
    message = "Cancelled: its worker was stopped" if cancelled else "Its process was killed"
    run = said[said.index(_RUN) + 1] if _RUN in said else None
    if run is not None:
        _insist(lambda: _close_record(Path(config), run, message, cancelled=cancelled))
    _insist(lambda: _close_flow_run(flow_run, message, cancelled=cancelled))


def _listen(worker: _Process) -> list[str]:
    """Return the words that the flow run says until it is gone; without a worker it is told to end.

    That is done once, and not where it is ending anyhow.
    """
    watched, entrance = os.getppid(), sys.stdin.fileno()
    said = b""
    alone = False
    while True:
        if not alone and worker.is_gone and _ENDING.encode() not in said:
            alone = True
            if os.getppid() == watched:
                os.kill(watched, signal.SIGTERM)
        if worker.lets_hear(entrance):
            chunk = os.read(entrance, 4096)
            if not chunk:
                return said.decode(errors="replace").split()
            said += chunk


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
        self.is_gone = False
        if not pid or sys.platform != "linux":
            return
        try:
            self._descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self.is_gone = True
        except OSError:  # nothing can be known of it
            return

    def lets_hear(self, entrance: int) -> bool:
        """Wait for input at `entrance`, or for the end of this process; whether it was input."""
        watched = [] if self.is_gone or self._descriptor is None else [self._descriptor]
        ready, _, _ = select.select([*watched, entrance], [], [])
        self.is_gone = self.is_gone or self._descriptor in ready
        return entrance in ready

    def ends(self, seconds: float) -> bool:
        """Whether it ends within this time; never, where that cannot be known."""
        if self._descriptor is None:
            return self.is_gone
        return bool(select.select([self._descriptor], [], [], seconds)[0])


def _close_record(config: Path, run: str, message: str, *, cancelled: bool) -> None:
    from pypimirror.catalog.queries import runs
    from pypimirror.config import settings as configuration
    from pypimirror.domain.errors import LockedError
    from pypimirror.pipeline.lifecycle import open_mirror

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
        return _is_settled(client.read_flow_run(UUID(flow_run)).state)


def _is_settled(state: State[Any] | None) -> bool:
    """Whether nobody waits for the process: the flow run has ended, or waits to be resumed."""
    return state is not None and (state.is_final() or state.is_paused())


def _close_flow_run(flow_run: str, message: str, *, cancelled: bool) -> None:
    from uuid import UUID

    from prefect.client.orchestration import get_client
    from prefect.states import Cancelled, Crashed

    with get_client(sync_client=True) as client:
        found = client.read_flow_run(UUID(flow_run))
        if not _is_settled(found.state):
            state = Cancelled if cancelled else Crashed
            client.set_flow_run_state(found.id, state(message=message), force=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
