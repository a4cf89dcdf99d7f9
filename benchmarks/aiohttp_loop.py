"""Fetches and hashes a given list with aiohttp: aiohttp_loop.py JOBS PROCESSES CONNECTIONS.

Runs in bandersnatch's environment, so it imports nothing of this project.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp  # type: ignore[import-not-found]

_LARGE = 256 << 10  #: bytes that are read at once


async def fetch(session: Any, job: dict[str, Any]) -> None:
    """Fetch one file, hash it while it streams, and rename it into place."""
    digest = hashlib.sha256()
    async with session.get(job["url"]) as response:
        response.raise_for_status()
        with Path(job["path"] + ".part").open("wb", buffering=0) as file:
            async for piece in response.content.iter_chunked(_LARGE):
                digest.update(piece)
                file.write(piece)
    if digest.hexdigest() != job["sha256"]:
        raise SystemExit(f"{job['path']}: wrong digest")
    os.replace(job["path"] + ".part", job["path"])  # noqa: PTH105


async def work(session: Any, jobs: Iterator[Any]) -> None:
    """Do jobs until none are left."""
    for job in jobs:
        if isinstance(job, str):
            async with session.get(job) as response:
                response.raise_for_status()
                await response.read()
        else:
            await fetch(session, job)


async def run(jobs: list[Any], connections: int) -> None:
    """Do all jobs with this many connections."""
    connector = aiohttp.TCPConnector(limit=connections)
    left = iter(jobs)
    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(work(session, left) for _ in range(connections)))


def part(jobs: list[Any], connections: int) -> None:
    """Do a process's share."""
    asyncio.run(run(jobs, connections))


def main() -> int:
    """Share the jobs among processes; the exit code says whether all went well."""
    document = json.loads(Path(sys.argv[1]).read_bytes())
    jobs = document["pages"] + document["files"]
    count, connections = int(sys.argv[2]), int(sys.argv[3])
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=part, args=(jobs[number::count], connections))
        for number in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return max(abs(process.exitcode or 0) for process in processes)


if __name__ == "__main__":
    sys.exit(main())
