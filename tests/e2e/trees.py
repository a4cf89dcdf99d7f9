"""What is on disk, to be compared: bytes, and whether a file was touched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from packaging.utils import canonicalize_name

from tests import checker

Tree = dict[str, bytes]

SERVED = ("simple", "packages")


def contents(root: Path, *tops: str) -> Tree:
    """Path to bytes of all files below these directories of a mirror root."""
    return {name: (root / name).read_bytes() for name in names(root, *tops)}


def names(root: Path, *tops: str) -> Iterator[str]:
    """The paths of all files below these directories of a mirror root."""
    for top in tops or SERVED:
        for path in sorted((root / top).rglob("*")):
            if path.is_file():
                yield path.relative_to(root).as_posix()


def touches(root: Path, *tops: str) -> dict[str, tuple[int, int]]:
    """Path to inode and time of all files that are served: equal where nothing was written."""
    found = {name: (root / name).stat() for name in names(root, *tops)}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def difference(ours: Tree, theirs: Tree) -> dict[str, str]:
    """What differs, in words; empty where the trees are equal to the byte."""
    words = dict.fromkeys(ours.keys() - theirs.keys(), "only in the first")
    words |= dict.fromkeys(theirs.keys() - ours.keys(), "only in the second")
    for name in ours.keys() & theirs.keys():
        if ours[name] != theirs[name]:
            words[name] = f"{ours[name][:4000]!r}\n  is not\n{theirs[name][:4000]!r}"
    return words


def check(root: Path) -> int:
    """Let the independent checker hold the tree against itself; the number of links.

    Sizes are checked here, since HTML has none to compare.
    """
    assert checker.check(root) == []
    index = json.loads((root / "simple/index.v1_json").read_text())
    files = [
        (root / "simple" / canonicalize_name(entry["name"]) / unquote(file["url"]), file["size"])
        for entry in index["projects"]
        for file in offered(root, canonicalize_name(entry["name"])).values()
    ]
    wrong = [path for path, size in files if path.stat().st_size != size]
    assert wrong == []
    return len(files)


def offered(root: Path, project: str) -> dict[str, dict[str, Any]]:
    """The files of a project's page, by name."""
    page = json.loads((root / f"simple/{project}/index.v1_json").read_text())
    return {file["filename"]: file for file in page["files"]}
