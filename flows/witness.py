"""A process that reports the end of a flow run that was killed and cannot report it itself.

A worker that is stopped kills its flow runs without telling Prefect. So each flow run has a witness
in its own session. The end of its input tells the witness that the flow run's process is gone. Then
it closes the record in the catalog, if there is one, and the flow run in Prefect: as cancelled if
the worker ended too, else as crashed. It imports nothing large before that, and ends seconds after
the process that it watches. If the witness is killed as well, the next run closes the record.

If the worker is gone but the flow run is not, nobody could cancel the flow run any more. So the
witness tells it to end.

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

#: Words of a flow run: its run, that it has ended by itself, and that it ends early.
_RUN, _DONE, _ENDING = "run", "done", "ending"

#: Seconds between two attempts to report the end.
_PAUSES = (1, 2, 4, 8, 15, 30, 60)

T = TypeVar("T")

#: The inputs of witnesses that stay. They are closed when this process ends.
_open: list[IO[bytes]] = []

#: A worker that is being stopped ends within this many seconds after its flow run's process.
_PATIENCE = 10.0


class Witness:
    """The process that watches this one."""

    def __init__(self, flow_run: str, config: Path, worker: int) -> None:
        command = [sys.executable, "-P", __file__, flow_run, str(config), str(worker)]
        # It must not inherit the output: a worker waits until all processes have closed it.
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
        """Tell the witness which run of the catalog this process does."""
        self._say(f"{_RUN} {run}")

    def stays(self) -> None:
        """Let the witness watch until this process is gone, because somebody has told it to end.

        It may be killed before it has told Prefect how it ended.
        """
        if self._has_worker and not self._stays:
            self._stays = True
            self._say(_ENDING)
            assert self._process.stdin is not None
            _open.append(self._process.stdin)

    def leaves(self) -> None:
        """Tell the witness that everything is reported, unless it stays."""
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
    """Start a witness for this process. `worker` is the process that may kill it.

    The witness ends at the end, except after an error or if it was told to stay.
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
    """Wait for the end of the input, then close what the flow run left open."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stopping = _Process(int(worker))
    words = _listen(stopping)
    if _DONE in words:
        return
    sys.path.insert(0, str(Path(__file__).parents[1]))
    cancelled = stopping.ends(_PATIENCE)
    if _ENDING in words and _insist(lambda: _is_closed(flow_run)):
        return  # the record was closed before that; another run may be at work now
    message = "Cancelled: its worker was stopped" if cancelled else "Its process was killed"
    run = words[words.index(_RUN) + 1] if _RUN in words else None
    if run is not None:
        _insist(lambda: _close_record(Path(config), run, message, cancelled=cancelled))
    _insist(lambda: _close_flow_run(flow_run, message, cancelled=cancelled))


def _listen(worker: _Process) -> list[str]:
    """Return the words of the flow run after it is gone. Tell it to end if its worker is gone.

    It is told only once, and not if it is ending anyway.
    """
    watched, entrance = os.getppid(), sys.stdin.fileno()
    heard = b""
    alone = False
    while True:
        if not alone and worker.is_gone and _ENDING.encode() not in heard:
            alone = True
            if os.getppid() == watched:
                os.kill(watched, signal.SIGTERM)
        if worker.lets_hear(entrance):
            chunk = os.read(entrance, 4096)
            if not chunk:
                return heard.decode(errors="replace").split()
            heard += chunk


def _insist(action: Callable[[], T]) -> T | None:
    """Retry with pauses, for example while Prefect's database is busy. None: every attempt
    failed.
    """
    for pause in _PAUSES:
        try:
            return action()
        except Exception:  # noqa: BLE001 - nobody reads what this process could say
            time.sleep(pause)
    return None


class _Process:
    """A process whose end is watched."""

    def __init__(self, pid: int) -> None:
        self._descriptor: int | None = None
        self.is_gone = False
        if not pid or sys.platform != "linux":
            return
        try:
            self._descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self.is_gone = True
        except OSError:  # it cannot be watched
            return

    def lets_hear(self, entrance: int) -> bool:
        """Wait for input at `entrance`, or for the end of this process. Return whether there is
        input.
        """
        watched = [] if self.is_gone or self._descriptor is None else [self._descriptor]
        ready, _, _ = select.select([*watched, entrance], [], [])
        self.is_gone = self.is_gone or self._descriptor in ready
        return entrance in ready

    def ends(self, seconds: float) -> bool:
        """Whether the process ends within this time. False if that cannot be known."""
        if self._descriptor is None:
            return self.is_gone
        return bool(select.select([self._descriptor], [], [], seconds)[0])


def _close_record(config: Path, run: str, message: str, *, cancelled: bool) -> None:
    from pypimirror.catalog.queries import runs
    from pypimirror.config import settings as configuration
    from pypimirror.domain.errors import LockedError
    from pypimirror.pipeline.lifecycle import open_mirror

    # If another run is at work, it has closed the record.
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
    """Whether the flow run has ended or waits to be resumed, so nobody waits for its process."""
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
