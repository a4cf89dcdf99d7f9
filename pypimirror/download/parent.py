"""The parent's side of the download engine. No gevent, no requests."""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from pypimirror.download.protocol import FromWorker, Hello, Job, Note, Result
from pypimirror.system.workers import Workers, log_note


def download_workers(
    hello: Hello, *, processes: int = 0, on_note: Callable[[Note], None] = log_note
) -> Workers[Job, Result]:
    """Return a pool of download workers; 0 processes means one for each core."""
    return Workers(
        module="pypimirror.download.worker",
        processes=processes or os.cpu_count() or 1,
        hello=hello,
        decoder=msgspec.json.Decoder(FromWorker),
        in_flight=2 * hello.connections,
        on_note=on_note,
    )
