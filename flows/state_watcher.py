"""Watch at the API whether somebody wants a flow run to be cancelled or suspended.

Prefect's worker cancels its flow runs. But if the server is down for half a minute, the worker's
listener gives up for good (3.9.1). And nobody cancels a flow run without a worker. So each flow run
regularly asks for its own state, and ends as if it got SIGTERM:

* If it must be cancelled: after two such answers in a row, because the worker may be faster.
* If it belongs to a deployment and is suspended or paused: at once. It leaves the mirror to others
  like a cancelled run, and its process ends. If it is resumed, a new process continues.
"""

from __future__ import annotations

import os
import signal
import threading
from contextvars import copy_context
from types import TracebackType
from typing import Any, Self

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.exceptions import Pause, PrefectException
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Suspended

#: Seconds between two requests.
EVERY = 5.0

#: Seconds that the end of a run waits for the last answer.
_PATIENCE = 2.0


class StateWatcher:
    """Asks for the state of a flow run in its own thread, and ends the process by a signal."""

    def __init__(self, flow_run: FlowRun) -> None:
        self._flow_run = flow_run
        #: The state in which the flow run waits to be resumed, if somebody suspended it.
        self._suspended: State[Any] | None = None
        self._was_cancelling = False
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._listen,), daemon=True, name="state-watcher"
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join(_PATIENCE)

    def note(self, pause: Pause) -> None:
        """Note that Prefect's own engine was the first to see that the run is suspended."""
        self._suspended = self._suspended or pause.state

    def raise_if_suspended(self) -> None:
        """Raise the exception that ends a flow run that is to be resumed."""
        if self._suspended is not None:
            raise Pause(state=self._suspended)

    def _listen(self) -> None:
        # If the server is away, ask again soon, without a growing pause.
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            while not self._ended.wait(EVERY):
                try:
                    with get_client(sync_client=True) as client:
                        if self._is_to_end(client):
                            os.kill(os.getpid(), signal.SIGTERM)
                            return
                except (httpx.HTTPError, PrefectException, RuntimeError, OSError):
                    continue

    def _is_to_end(self, client: SyncPrefectClient) -> bool:
        state = client.read_flow_run(self._flow_run.id).state
        if state is None or self._ended.is_set():
            return False
        if state.type is StateType.PAUSED and self._flow_run.deployment_id is not None:
            self._suspended = _to_be_resumed(client, self._flow_run, state)
            return True
        again, self._was_cancelling = self._was_cancelling, state.is_cancelling()
        return again and self._was_cancelling


def _to_be_resumed(client: SyncPrefectClient, flow_run: FlowRun, state: State[Any]) -> State[Any]:
    """Return the state in which a flow run waits without a process.

    If it were only paused, resuming would start no new process.
    """
    if state.state_details.pause_reschedule:
        return state
    wanted: State[Any] = Suspended(
        pause_expiration_time=state.state_details.pause_timeout, message=state.message
    )
    answer = client.set_flow_run_state(flow_run.id, wanted, force=True)
    return answer.state or wanted
