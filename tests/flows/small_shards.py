"""Entrypoints for tests: the flows `sync` and `shard`, with small batches.

A shard raises an error once if there is a file `fail-<number>` beside its configuration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows import shard as module
from flows import shards
from flows.sync import sync as sync
from pypimirror.pipeline.executors import loop

loop.BATCH_SIZE = loop.SMALLEST_BATCH = shards.BATCH_SIZE = 2  # type: ignore[attr-defined]
loop.LANES = 1

_work, _call = module._work, module._call


def _work_or_fail(config: str, name: str, worker: str, *more: Any) -> Any:
    mark = Path(config).with_name(f"fail-{worker}")
    module._call = _fail if mark.exists() else _call
    mark.unlink(missing_ok=True)
    return _work(config, name, worker, *more)


def _fail(*_: object) -> None:
    raise RuntimeError("a fault of the program")


module._work = _work_or_fail
shard = module.shard.with_options(retry_delay_seconds=1)
