"""A fetcher whose keeper waits before it verifies: `python -m tests.on_demand.slow DIRECTORY …`.

It makes the file `waits` there, and waits for the file `goes`. The other arguments are a fetcher's.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

from pypimirror.domain.model import Stage
from pypimirror.on_demand import fetcher
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.run import Run

if __name__ == "__main__":
    directory, work_of = Path(sys.argv.pop(1)), sequence.work_of

    def slowly(stage: Stage) -> Callable[[Run, Batch], None]:
        """Wait before the stage begins."""
        if stage is Stage.VERIFY:
            (directory / "waits").touch()
            while not (directory / "goes").exists():
                time.sleep(0.01)
        return work_of(stage)

    sequence.work_of = slowly
    fetcher.main()
