"""What people look at in a synthetic catalog: summaries, requirements, history, and real projects.

`fill` adds it to a catalog of `benchmarks.catalogs`, as syncs of such an upstream would have left
it. Words are as unequally frequent as in a language, with the worst cases of a search beside them.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from sqlalchemy import delete, insert, select

from benchmarks import catalogs
from benchmarks.archives import core_metadata
from pypimirror.catalog import schema
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.queries import projects as queries
from pypimirror.catalog.states import State
from pypimirror.config.settings import Config
from pypimirror.domain.layout import METADATA_SUFFIX, file_path
from pypimirror.domain.model import Reason
from pypimirror.system.clock import DAY
from pypimirror.verify.proof import Proof

#: Files of a project page: as the goal has it, and as a large project.
SIZES = (30, 240)
#: Projects of each of these sizes, so that a page can be asked for the first time often enough.
EACH = 30
#: Words of summaries by rank, and names that are required.
_WORDS, _REQUIRED = 30_000, 20_000
#: Runs of the history, days, and failures of the newest run.
_RUNS, _DAYS, _FAILURES = 500, 731, 2_000

_README = """\
# {name}

A *library* for [things](https://things.example/{name}) that are `{name}`.

## Install

```
pip install {name}
```

| Option | Meaning |
| --- | --- |
{table}

## Use

{text}
"""


def name_of(size: int, number: int) -> str:
    """Return the name of a project with so many files."""
    return f"looked-at-{size}-{number}"


def fill(config: Config) -> None:
    """Add everything, unless it is there."""
    catalog = Catalog.open(config.catalog_url)
    try:
        with catalog.read() as connection:
            done = select(schema.runs.c.id).where(schema.runs.c.name == _run_name(0))
            if connection.alchemy.scalar(done) is not None:
                return
            first = 1 + queries.highest_id(connection)
            known = connection.execute(select(schema.projects.c.id, schema.projects.c.name))
            numbered = [(row.id, row.name) for row in known if row.name != catalogs.SEED]
        catalogs.fill(catalog, schema.summaries, _summaries(numbered))
        catalogs.fill(catalog, schema.dependents, _dependents(numbered))
        for position, (size, number) in enumerate((s, n) for s in SIZES for n in range(EACH)):
            _place(catalog, config, first + position, name_of(size, number), size)
        with catalog.write() as connection:
            connection.execute(insert(schema.runs), list(_runs(time.time())))
            last = connection.alchemy.scalar(
                select(schema.runs.c.id).order_by(schema.runs.c.id.desc())
            )
            assert last is not None
            connection.execute(insert(schema.failures), list(_failures(last)))
            connection.execute(delete(schema.days))
            connection.execute(insert(schema.days), list(_days(time.time())))
            if connection.dialect.name == "postgresql":
                for table in ("summaries", "dependents", "runs", "failures", "days"):
                    connection.run(f"ANALYZE {table}")
    finally:
        catalog.close()


def word(rank: int) -> str:
    """Return a word; those of low rank are frequent."""
    start = "bcdfghklmnprstvz"[rank % 16] + "aeiou"[rank % 5]
    return start + hashlib.md5(b"%d" % rank).hexdigest()[:4]


def _weights(number: int) -> list[float]:
    """Return cumulative weights of ranks: the first is very frequent."""
    return list(accumulate(1 / (rank + 2) for rank in range(number)))


def _summaries(numbered: list[tuple[int, str]]) -> Iterator[dict[str, Any]]:
    """Yield summaries with some very frequent words.

    "for" is in half of all, "python" in two fifths, "library" in one of six. "even" and "odd" are
    in half of all each, and never in the same.
    """
    draw = random.Random(1)
    words = [word(rank) for rank in range(_WORDS)]
    weights = _weights(_WORDS)
    for project, name in numbered:
        said = draw.choices(words, cum_weights=weights, k=8)
        chosen = draw.random()
        said += ["for"] * (chosen < 0.5) + ["Python"] * (0.3 < chosen < 0.7)
        said += ["library"] * (0.4 < chosen < 0.57) + ["even" if project % 2 else "odd"]
        yield {
            "project_id": project,
            "name": name,
            "summary": " ".join(said),
            "source": hashlib.sha256(name.encode()).digest(),
        }


def _dependents(numbered: list[tuple[int, str]]) -> Iterator[dict[str, Any]]:
    """Yield three requirements of each project; the first is required by very many."""
    draw = random.Random(2)
    names = [name for _, name in numbered[:_REQUIRED]]
    weights = _weights(len(names))
    for project, _ in numbered:
        for required in set(draw.choices(names, cum_weights=weights, k=3)):
            yield {"project_id": project, "required": required}


def _place(catalog: Catalog, config: Config, key: int, name: str, size: int) -> None:
    """Add a project with its files and their core metadata."""
    project = {"id": key, "name": name, "upstream": catalogs.UPSTREAM, "page_on_disk": True}
    project |= {"held_files": size, "held_bytes": size * 10_000, "linked_files": 0}
    project |= {"needs_fetch": False, "has_work": False, "page_stale": False}
    project |= {"checked_at": time.time(), "serial": 10 * key}
    rows = list(_files(config, key, name, size))
    summary = {"project_id": key, "name": name, "summary": "To be looked at", "source": None}
    required = [{"project_id": key, "required": catalogs.name_of(n)} for n in range(8)]
    required += [{"project_id": n, "required": name} for n in range(key - 500, key)]
    with catalog.write() as connection:
        connection.execute(insert(schema.projects), [project])
        connection.execute(insert(schema.files), rows)
        connection.execute(insert(schema.summaries), [summary])
        connection.execute(insert(schema.dependents), required)


def _files(config: Config, key: int, name: str, size: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of files: an sdist and two wheels for each version."""
    stem = name.replace("-", "_")
    root = config.directory
    table = "\n".join(f"| `{word(n)}` | {word(n + 1)} {word(n + 2)} |" for n in range(30))
    text = "\n\n".join(f"{' '.join(word(n + i) for i in range(60))}." for n in range(12))
    for number in range(size):
        version = f"{1 + number // 30}.{number // 3 % 10}.0"
        ends = (".tar.gz", "-py3-none-any.whl", "-cp312-cp312-manylinux_2_28_x86_64.whl")
        filename = f"{stem}-{version}{ends[number % 3]}"
        metadata = None
        if number % 3:
            said = core_metadata(
                name,
                version,
                requires=[f"{catalogs.name_of(n)}>=1" for n in range(8)],
                lines=["Description-Content-Type: text/markdown", "License: MIT"],
                description=_README.format(name=name, table=table, text=text),
            )
            path: Path = root / (file_path(name, filename, None) + METADATA_SUFFIX)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(said)
            metadata = hashlib.sha256(said).digest()
        yield {
            "project_id": key,
            "filename": filename,
            "url": f"/packages/{filename}",
            "state": int(State.PUBLISHED),
            "run_id": 1,
            "size": 10_000,
            "sha256": hashlib.sha256(filename.encode()).digest(),
            "proof": int(Proof.DIGEST),
            "proof_algorithm": "sha256",
            "proof_source": catalogs.UPSTREAM,
            "proven_at": time.time(),
            "metadata_claim": metadata,
            "metadata_sha256": metadata,
            "upload_time": f"2024-{1 + number // 30:02d}-02T03:04:05.678900Z",
            "requires_python": ">=3.8",
        }


def _run_name(number: int) -> str:
    return f"looked-at-{number}"


def _runs(now: float) -> Iterator[dict[str, Any]]:
    counts = {"files_verified": 4_000, "bytes_downloaded": 9 << 30, "files_failed": _FAILURES}
    for number in range(_RUNS):
        started = now - (_RUNS - number) * DAY / 12
        is_last = number == _RUNS - 1
        yield {
            "name": _run_name(number),
            "command": "sync",
            "trigger": "schedule",
            "version": "1",
            "config": "",
            "arguments": "[]",
            "host": "host",
            "pid": 1,
            "state": "incomplete" if is_last or number % 10 == 0 else "completed",
            "started_at": started,
            "ended_at": started + 3_000,
            "counts": json.dumps(counts),
        }


def _failures(run: int) -> Iterator[dict[str, Any]]:
    reasons = Reason.MISSING, Reason.TIMEOUT, Reason.DIGEST_MISMATCH, Reason.CONNECTION
    for number in range(_FAILURES):
        name = catalogs.name_of(number)
        yield {
            "run_id": run,
            "stage": "download",
            "project": name,
            "file": f"{name}-1.0.tar.gz",
            "reason": reasons[number % len(reasons)],
            "message": "it did not come",
            "url": f"/packages/{name}",
            "attempts": 3,
        }


def _days(now: float) -> Iterator[dict[str, Any]]:
    today = int(now // DAY)
    for number in range(_DAYS):
        yield {
            "day": today - _DAYS + 1 + number,
            "projects": 700_000 + 50 * number,
            "files": 14_000_000 + 1_300 * number,
            "bytes": (28 << 40) + number * (20 << 30),
            "free": (40 << 40) - number * (20 << 30),
            "backlog": number % 300,
            "oldest": 90_000.0,
            "runs": 12,
            "undone": number % 2,
            "seconds": 3_000.0 + number,
            "downloaded": 20 << 30,
            "failures": json.dumps({"missing": 20, "timeout": number % 9, "connection": 3}),
        }
