"""A fetcher whose keeper waits for a quiet moment for ever: `python -m tests.on_demand.busy …`.

The arguments are a fetcher's.
"""

from __future__ import annotations

import math

from pypimirror.on_demand import fetcher
from pypimirror.on_demand.keeping import keeper

if __name__ == "__main__":
    keeper.PATIENCE = math.inf
    fetcher.main()
