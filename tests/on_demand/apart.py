"""A fetcher that cannot see the stores of others, as on another machine: `python -m
tests.on_demand.apart ...`.

The arguments are a fetcher's.
"""

from __future__ import annotations

from pypimirror.on_demand import fetcher
from pypimirror.on_demand.store import Store

if __name__ == "__main__":
    Store.elsewhere = lambda *_: None  # type: ignore[method-assign]
    fetcher.main()
