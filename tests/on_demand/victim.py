"""A fetcher that is killed right before a step on disk, or whose disk is full from then on.

python -m tests.on_demand.victim ROOT STEP ERROR ...

The other arguments are a fetcher's. The steps are those of `tests.crash.steps`. ERROR 0 means that
it is killed.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from pypimirror.on_demand import fetcher
from tests.crash import steps


def main() -> None:
    """Be the fetcher."""
    root, step, error = Path(sys.argv.pop(1)), int(sys.argv.pop(1)), int(sys.argv.pop(1))
    reached = 0

    def on_step(what: str, where: str) -> None:
        nonlocal reached
        reached += 1
        if reached < step:
            return
        if not error:
            os.kill(os.getpid(), signal.SIGKILL)
        raise steps.failure(what, error, root / where)

    steps.watch(root, on_step)
    fetcher.main()


if __name__ == "__main__":
    main()
