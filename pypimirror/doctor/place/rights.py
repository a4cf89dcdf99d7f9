"""Checks who owns the mirror root and what is below it, and who may read and write there.

A run makes the private directory for its owner alone. All else gets its permissions from the umask,
because that is how the operator says who may read. With a umask that leaves everybody else out, a
web server of another user cannot read the mirror.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from pypimirror.doctor.finding import Finding, ok, skipped, warning

#: How many directories and files to look at. A mirror has millions; a wrong umask shows at once.
_MOST = 20_000
_SHOWN = 3


def check(root: Path, parts: list[Path], *, is_served: bool) -> Iterator[Finding]:
    """Check owners and permissions of the mirror root and of what is below it."""
    yield _writers(parts)
    yield _private(root / ".pypimirror")
    if is_served:
        yield _readers(root)
    yield _owners(root)


def _writers(parts: list[Path]) -> Finding:
    open_to_all = [str(p) for p in parts if p.stat().st_mode & stat.S_IWOTH]
    if open_to_all:
        return warning(
            "permissions",
            f"{', '.join(open_to_all)}: can be written by every user of this machine",
            f"chmod o-w {' '.join(open_to_all)}",
        )
    strangers = [str(p) for p in parts if p.stat().st_uid != os.geteuid()]
    if strangers and os.geteuid() == 0:
        return warning(
            "permissions",
            f"{', '.join(strangers)}: not owned by root, and this process is root",
            "Run as the owner: the owner cannot write what root has written",
        )
    return ok("permissions", "only its owner, or group, may write")


def _private(private: Path) -> Finding:
    if not private.is_dir():
        return skipped("private", "nothing is there before the first sync")
    if private.stat().st_mode & stat.S_IRWXO:
        return warning(
            "private",
            f"{private}: every user of this machine, and so a web server, may read it: the "
            "catalog, and the bytes that were refused",
            f"chmod 700 {private}, or 750 if its group must read the catalog",
        )
    return ok("private", "other users can read neither the quarantine nor the catalog")


def _readers(root: Path) -> Finding:
    """Check that a web server, which is another user, may read the served files."""
    closed = [path for path, status in _served(root) if not _is_readable(status.st_mode)]
    if closed:
        return warning(
            "readers",
            f"{_some(closed)}: only the owner may read, so a web server of another user cannot",
            f"chmod -R go+rX {root} && chmod 700 {root / '.pypimirror'}; and start runs with "
            "umask 022",
        )
    above = next((p for p in root.absolute().parents if not p.stat().st_mode & 0o011), None)
    told = f"; but only the owner of {above} may pass through it" if above is not None else ""
    return ok("readers", f"other users, such as a web server, may read what is served{told}")


def _is_readable(mode: int) -> bool:
    group, others = (0o050, 0o005) if stat.S_ISDIR(mode) else (0o040, 0o004)
    return mode & group == group or mode & others == others


def _owners(root: Path) -> Finding:
    """Report another user's directories and private files: runs cannot write them."""
    owner = root.stat()
    left = [path for path, status in _in_the_way(root) if not _shared(status, owner)]
    if left:
        return warning(
            "owners",
            f"{_some(left)}: not owned by user {owner.st_uid}, who owns the mirror root",
            f"chown -R {owner.st_uid}:{owner.st_gid} {root}; and always run as that user",
        )
    return ok("owners", "all of it belongs to the owner of the mirror root")


def _shared(status: os.stat_result, owner: os.stat_result) -> bool:
    if status.st_uid == owner.st_uid:
        return True
    return status.st_gid == owner.st_gid and bool(status.st_mode & stat.S_IWGRP)


def _in_the_way(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    private = root / ".pypimirror"
    for path, status in _walk([private]):
        yield path, status
    for path, status in _served(root):
        if stat.S_ISDIR(status.st_mode):
            yield path, status


def _served(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    yield root, root.stat()
    yield from _walk([root / "simple"])
    yield from _walk([root / "packages"])


def _walk(waiting: list[Path]) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield these paths and what is below them, but no symbolic links; ignore what vanishes."""
    seen = 0
    while waiting and seen < _MOST:
        path = waiting.pop()
        try:
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode):
                waiting += sorted(path.iterdir(), reverse=True)
        except FileNotFoundError:
            continue
        except PermissionError:
            yield path, path.lstat()
            continue
        if stat.S_ISLNK(status.st_mode):
            continue
        seen += 1
        yield path, status


def _some(paths: list[Path]) -> str:
    shown = ", ".join(map(str, paths[:_SHOWN]))
    more = len(paths) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
