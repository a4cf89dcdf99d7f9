"""A process that does syncs in children which kill themselves at a given step.

python -m tests.stages.killing

Reads a line {"config": FILE, "step": N} for each sync; N counts changes of what is served and
commits of the catalog, and the child dies with SIGKILL right before the N-th. Answers with
{"killed": true} or, where the sync came to its end before that step, {"state": …, "steps": …}.
Forking is what makes this fast: nothing is imported again.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event

from pypimirror import tree
from pypimirror.config import load
from pypimirror.stages import sequence
from pypimirror.stages.run import sync


def child(config: str, last: int | None, answer: int) -> None:
    """Sync, and die at a step."""
    numbers = itertools.count(1)
    reached = 0

    def step(*_: Any) -> None:
        nonlocal reached
        reached = next(numbers)
        if reached == last:
            os.kill(os.getpid(), signal.SIGKILL)

    class Mortal(tree.Tree):
        def __init__(self, directory: Path, **settings: Any) -> None:
            super().__init__(directory, step, **settings)

    from pypimirror.stages import run

    run.Tree = Mortal  # type: ignore[misc]

    def commit(connection: Connection) -> None:
        if connection.get_execution_options().get("pypimirror_write"):
            step()

    event.listen(Engine, "commit", commit)
    result = sync(load(Path(config)), (), sequence.sync, trigger="test")
    os.write(answer, json.dumps({"state": result.state, "steps": reached}).encode())


def main() -> None:
    """Serve until the input ends."""
    for line in sys.stdin:
        job = json.loads(line)
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                child(job["config"], job["step"], writer)
            finally:
                os._exit(0)
        os.close(writer)
        _, status = os.waitpid(pid, 0)
        with os.fdopen(reader, "rb") as stream:
            said = stream.read()
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print(said.decode() if not killed else '{"killed": true}', flush=True)


if __name__ == "__main__":
    main()
