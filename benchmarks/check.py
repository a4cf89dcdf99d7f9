"""Checks that a contestant's result is complete and right. Reads every byte, on all cores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from benchmarks.contestant import cores
from benchmarks.corpus import Corpus, Item

_SHOWN = 3


def mirror(web: Path, corpus: Corpus, names: Iterable[str]) -> list[str]:
    """Check a mirror: its pages, the files that they link to, and the list of projects."""
    wrong: list[str] = []
    wanted: list[tuple[Path, Item]] = []
    names = list(names)
    for name in names:
        directory = web / "simple" / name
        try:
            page: Any = json.loads((directory / "index.v1_json").read_bytes())
            html = (directory / "index.html").read_text()
        except OSError as error:
            wrong.append(f"{name}: {error.strerror}: {error.filename}")
            continue
        links = {file["filename"]: file for file in page["files"]}
        items = {item.filename: item for item in corpus.projects[name]}
        if links.keys() != items.keys():
            wrong.append(f"{name}: {len(links)} files on its page, {len(items)} upstream")
        for filename, item in items.items():
            file = links.get(filename)
            if file is None or filename not in html:
                wrong.append(f"{filename}: not on the page")
            elif file["hashes"].get("sha256") != item.sha256:
                wrong.append(f"{filename}: another sha256 on the page")
            else:
                target = directory / unquote(file["url"].partition("#")[0])
                wanted.append((target, item))
    wrong += files(wanted)
    try:
        root: Any = json.loads((web / "simple" / "index.v1_json").read_bytes())
        if not set(names) <= {entry["name"] for entry in root["projects"]}:
            wrong.append("the list of projects is not complete")
    except OSError as error:
        wrong.append(f"list of projects: {error.strerror}")
    return shortened(wrong)


def files(wanted: Iterable[tuple[Path, Item]]) -> list[str]:
    """Check that files are there with the bytes that they should have."""
    with ThreadPoolExecutor(cores()) as pool:
        return [problem for problem in pool.map(_check, wanted, chunksize=64) if problem]


def _check(pair: tuple[Path, Item]) -> str | None:
    path, item = pair
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"{item.filename}: {error.strerror}"
    return None if digest == item.sha256 else f"{item.filename}: wrong bytes"


def shortened(wrong: list[str]) -> list[str]:
    """Return the first few problems, and the number of the others."""
    rest = len(wrong) - _SHOWN
    return [*wrong[:_SHOWN], f"and {rest} more"] if rest > 0 else wrong
