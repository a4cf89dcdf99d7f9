"""python -m benchmarks.bucket: what a first sync into a bucket costs, against the client library.

The long tail is synced into SeaweedFS on loopback: lists, pages, downloads, proof, pages
of our own. Then obstore alone puts the very same objects into the same server, from memory, with as
many threads and connections. Both do this in turn, each time into an empty server.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from benchmarks import corpus, measure
from benchmarks.__main__ import RESULTS, working_directory
from benchmarks.shapes import LONG_TAIL
from benchmarks.upstream import Server
from pypimirror.domain.objects.bucket import Bucket
from pypimirror.domain.objects.headers import of_path
from pypimirror.storage.s3.clients import Clients
from tests import buckets

LIMIT = 1.6
CONNECTIONS = 32


def synced(home: Path, base: str, bucket: Bucket) -> measure.Cost:
    """Sync everything into the bucket."""
    home.mkdir()
    (home / "pypimirror.toml").write_text(
        f'[mirror]\nstorage = "{bucket.shown}"\n[s3]\nendpoint = "{bucket.endpoint}"\n'
        f'connections = {CONNECTIONS}\n[[upstream]]\nname = "bench"\nurl = "{base}/simple/"\n'
    )
    command = [sys.executable, "-m", "pypimirror", "sync", "--inline", "--json", "--quiet"]
    cost = measure.run(command, env=os.environ | buckets.ENVIRONMENT, cwd=home)
    if cost.status or json.loads(cost.output)["state"] != "completed":
        raise SystemExit(f"pypimirror: {cost.output[-500:]} {cost.errors[-500:]}")
    return cost


def bare(bucket: Bucket, objects: dict[str, bytes]) -> float:
    """Put all objects with the client library alone, and return the seconds."""
    clients = Clients(bucket)
    library, store = clients.obstore, clients.store

    def put(path: str) -> None:
        kind, cache = of_path(path)
        sha256 = hashlib.sha256(objects[path]).hexdigest()
        attributes = {"Content-Type": kind, "Cache-Control": cache, "sha256": sha256}
        library.put(
            store,
            bucket.key(path),
            objects[path],
            attributes=attributes,
            mode="create",
            use_multipart=False,
        )

    started = time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(put, objects))
    return time.perf_counter() - started


def compare(directory: Path, scale: int, rounds: int) -> Iterator[str]:
    """Yield a line for each round, and the result."""
    shape = replace(
        LONG_TAIL,
        projects=LONG_TAIL.projects // scale,
        files=LONG_TAIL.files // scale,
        total=LONG_TAIL.total // scale,
    )
    made = corpus.build(directory / "corpus", shape)
    ratios = []
    with Server(made.directory, directory / "upstream") as upstream:
        made.render(upstream.base)
        for number in range(rounds):
            with buckets.seaweed() as server:
                bucket = server.bucket(connections=CONNECTIONS)
                cost = synced(directory / f"home-{number}", upstream.base, bucket)
                objects = buckets.content(bucket)
            with buckets.seaweed() as server:
                seconds = bare(server.bucket(connections=CONNECTIONS), objects)
            ratios.append(cost.seconds / seconds)
            size = sum(map(len, objects.values()))
            yield (
                f"{shape.projects:,} projects, {len(objects):,} objects, {size / 1e6:,.0f} MB: "
                f"pypimirror {cost.seconds:.2f} s ({cost.cpu:.2f} s of CPU), "
                f"obstore alone {seconds:.2f} s: {ratios[-1]:.2f} times"
            )
    ratio = statistics.median(ratios)
    yield f"a first sync into a bucket: {ratio:.2f} times obstore alone (<= {LIMIT:g}): " + (
        "yes" if ratio <= LIMIT else "NO"
    )


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and keep what was printed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bucket", description=__doc__)
    parser.add_argument("--scale", type=int, default=1, help="this part of the long tail")
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: 3)")
    found = parser.parse_args(arguments)
    os.environ.update(buckets.ENVIRONMENT)
    lines = []
    with working_directory(None, "bucket-") as directory:
        for line in compare(directory, found.scale, found.rounds):
            print(line, flush=True)
            lines.append(line)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "bucket.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
