"""A fetcher whose keeper places nothing: `python -m tests.on_demand.stuck ...`.

The arguments are a fetcher's.
"""

from __future__ import annotations

import threading

from pypimirror.on_demand import fetcher
from pypimirror.on_demand.keeping.keeper import Keeper

if __name__ == "__main__":
    Keeper.work = lambda _: threading.Event().wait()  # type: ignore[assignment, method-assign, return-value]
    fetcher.main()
