"""Hears what somebody has asked of a flow run at the API: to be cancelled, or to be suspended.

Prefect's worker cancels its flow runs, but not any more once its server was away for half a minute:
what it listens with has given up then, for good (3.9.1). A flow run without a worker is cancelled
by nobody. So each flow run asks for its own state now and then, and ends as by SIGTERM:

* One that is to be cancelled: when it was so asked twice in a row, since the worker is quicker.
* One of a deployment that is suspended, or paused: at once. It leaves the mirror to others, as a
  cancelled run does, and its process ends; resumed, it is a new process that goes on from there.
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

#: Seconds between two questions.
EVERY = 5.0

#: Seconds that the end of a run waits for the last answer.
_PATIENCE = 2.0


class Ears:
    """Asks for the state of a flow run, in a thread of its own, and ends it by a signal."""

    def __init__(self, flow_run: FlowRun) -> None:
        self._flow_run = flow_run
        #: The state in which the flow run waits to be resumed, where somebody asked for that.
        self._suspended: State[Any] | None = None
        self._was_cancelling = False
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._listen,), daemon=True, name="ears"
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
        """Note that Prefect's own engine has heard first that the run is suspended."""
        self._suspended = self._suspended or pause.state

    def raise_if_suspended(self) -> None:
        """Raise what ends a flow run that is to be resumed."""
        if self._suspended is not None:
            raise Pause(state=self._suspended)

    def _listen(self) -> None:
        # A server that is away is asked again soon, and not after a pause that grows.
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
    """Return the state that a flow run waits in without a process.

    Resuming what is only paused would not start one.
    """
    if state.state_details.pause_reschedule:
        return state
    wanted: State[Any] = Suspended(
        pause_expiration_time=state.state_details.pause_timeout, message=state.message
    )
    answer = client.set_flow_run_state(flow_run.id, wanted, force=True)
    return answer.state or wanted
