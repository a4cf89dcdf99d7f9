"""The console of a flow run that outlives the worker that reads it.

A worker that was killed leaves its flow runs behind, which are then told to end (`flows.witness`).
But what they print has no reader any more, and Rich, which prints Prefect's log, ends the process
for that, in the middle of whatever it does. Where it does not, what is still in a buffer of Python
turns the exit code into 120. So what these processes print goes nowhere from then on, and a flow
run ends by its own codes, however it is buffered.
"""

from __future__ import annotations

import os
import select
import threading

from rich.console import Console

_OUTPUTS = (1, 2)


def outlive_reader() -> None:
    """From the moment on when nobody reads what this process prints, let it go nowhere."""
    # A line may be printed before the thread has seen that the reader is gone.
    Console.on_broken_pipe = _lead_nowhere  # type: ignore[method-assign, assignment]
    threading.Thread(target=_lead_nowhere_then, name="console", daemon=True).start()


def _lead_nowhere_then() -> None:
    poll = select.poll()
    for descriptor in _OUTPUTS:
        poll.register(descriptor, 0)  # that the other end is gone is told without being asked for
    poll.poll()
    _lead_nowhere()


def _lead_nowhere(_: Console | None = None) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in _OUTPUTS:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
