"""Checks the mirror root: does it exist, is it writable, is it on one file system?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pypimirror.config.settings import Config
from pypimirror.doctor.finding import Finding, failed, ok, skipped, warning
from pypimirror.doctor.place import rights
from pypimirror.doctor.scratch import scratch

_PARTS = ("simple", "packages", ".pypimirror", ".pypimirror/staging", ".pypimirror/quarantine")


def check(config: Config) -> Iterator[Finding]:
    """Check the mirror root and its parts."""
    root = config.directory
    if not root.exists():
        yield _not_there(root)
        return
    parts = [root, *(root / name for name in _PARTS if os.access(root / name, os.F_OK))]
    yield _writable(root, parts)
    yield _one_file_system(parts)
    yield from rights.check(root, parts, is_served=config.bucket is None)
    if config.bucket is None:
        yield _names(config)


def _not_there(root: Path) -> Finding:
    above = next(path for path in root.parents if path.exists())
    if not os.access(above, os.W_OK | os.X_OK):
        return failed(
            "directory",
            f"{root}: is not there, and {above} cannot be written",
            f"Make it, and give it to the user who runs pypimirror (this is {_me()})",
        )
    return warning("directory", f"{root}: is not there yet", "'pypimirror sync' makes it")


def _writable(root: Path, parts: list[Path]) -> Finding:
    for path in parts:
        if not path.is_dir():
            return failed("directory", f"{path}: is no directory", "Move it away")
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            owner = f"user {path.stat().st_uid}"
            return failed(
                "directory",
                f"{path}: belongs to {owner}, and cannot be written by {_me()}",
                "Run as the user who owns the mirror root, or give it to this one",
            )
    links = [str(path) for path in parts[1:] if path.is_symlink()]
    told = f"; {', '.join(links)}: a symbolic link" if links else ""
    return ok("directory", f"{root}: is there and can be written{told}")


def _one_file_system(parts: list[Path]) -> Finding:
    root, *rest = parts
    other = [str(path) for path in rest if path.stat().st_dev != root.stat().st_dev]
    if other:
        return failed(
            "file system",
            f"{', '.join(other)}: on another file system than {root}",
            "Put the whole mirror root on one file system: files are renamed into place",
        )
    return ok("file system", "the same for served and private files")


def _names(config: Config) -> Finding:
    with scratch(config) as directory:
        if directory is None:
            return skipped("names", "cannot be tried before the first sync")
        (directory / "name").touch()
        if (directory / "NAME").exists():
            return warning(
                "names",
                "the file system does not distinguish upper and lower case",
                "If names of files differ only in case, only one of them can be mirrored; use "
                "another file system if that matters",
            )
    return ok("names", "the file system distinguishes upper and lower case")


def _me() -> str:
    return f"user {os.geteuid()}"
