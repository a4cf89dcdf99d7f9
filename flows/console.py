"""Let a flow run outlive the worker that reads its output.

A killed worker leaves its flow runs behind, and `flows.witness` tells them to end. But their output
has no reader any more. Rich, which prints Prefect's log, then ends the process, wherever it is.
Otherwise, output that is still in a buffer of Python changes the exit code to 120. So the output of
these processes is redirected to /dev/null, and a flow run ends with its own exit code.
"""

from __future__ import annotations

import os
import select
import threading

from rich.console import Console

_OUTPUTS = (1, 2)


def outlive_reader() -> None:
    """Redirect output to /dev/null once its reader is gone."""
    # A line may be printed before the thread notices that the reader is gone.
    Console.on_broken_pipe = _lead_nowhere  # type: ignore[method-assign, assignment]
    threading.Thread(target=_lead_nowhere_then, name="console", daemon=True).start()


def _lead_nowhere_then() -> None:
    poll = select.poll()
    for descriptor in _OUTPUTS:
        poll.register(descriptor, 0)  # poll always reports that the other end is closed
    poll.poll()
    _lead_nowhere()


def _lead_nowhere(_: Console | None = None) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in _OUTPUTS:
        os.dup2(nowhere, descriptor)
    os.close(nowhere)
