"""Fetches a given list with pypimirror's engine: engine.py JOBS PROCESSES CONNECTIONS."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from pypimirror.download.protocol import (
    FetchFile,
    FetchPage,
    FileResult,
    FromWorker,
    Hello,
    PageResult,
    Remote,
)
from pypimirror.system.workers import Workers


def main() -> int:
    """Fetch everything; return 0 if all files came."""
    jobs = json.loads(Path(sys.argv[1]).read_bytes())
    hello = Hello((Remote("bench", jobs["base"]),), connections=int(sys.argv[3]))
    work: list[FetchFile | FetchPage] = [
        FetchPage(number, "bench", url, urlsplit(url).path.split("/")[2])
        for number, url in enumerate(jobs["pages"])
    ]
    for file in jobs["files"]:
        digests = {"sha256": file["sha256"]}
        urls, path, size = (file["url"],), file["path"], file["size"]
        work.append(FetchFile(len(work), "bench", urls, path, digests, size))
    failed = 0
    pool: Workers[FetchFile | FetchPage, FileResult | PageResult] = Workers(
        module="pypimirror.download.worker",
        processes=int(sys.argv[2]),
        hello=hello,
        decoder=msgspec.json.Decoder(FromWorker),
    )
    with pool as workers:
        for result in workers.run(work):
            if result.problem is not None:
                failed += 1
                print(result.problem.message, file=sys.stderr)
    return min(1, failed)


if __name__ == "__main__":
    sys.exit(main())
