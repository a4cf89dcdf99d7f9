"""The steps of a process on disk, seen from outside of the program: to count, to die, to fail.

A step is whatever changes a mirror root: a file that is opened for writing, bytes that a worker
writes, a name that is made, replaced or removed, a flush of the file system, and a commit of the
catalog. A heartbeat is none: it comes by the clock, so its number differs from run to run. The
interpreter itself reports the operations on files, to an audit hook, before it does
them; so no step escapes, whichever module takes it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from functools import partialmethod
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError

from pypimirror.catalog.claims import Worker
from pypimirror.catalog.lease import Lease
from pypimirror.storage import durability
from pypimirror.storage.s3 import sending
from pypimirror.storage.s3.faults import RequestError
from pypimirror.storage.s3.objects import Objects
from tests.commits import watch_commits

#: Called before each step with what it is and where; what it raises, the step fails with.
OnStep = Callable[[str, str], None]

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

#: The threads that renew what a process holds; see `pypimirror.catalog.lease.Expiring`.
HEARTBEATS = {Lease.what, Worker.what}

#: What SQLite says where the system says this.
_SQLITE = {
    errno.ENOSPC: "database or disk is full",
    errno.EROFS: "attempt to write a readonly database",
}


def _opened(path: Any, mode: str | None, flags: int) -> str | None:
    writes = flags & _WRITING if mode is None else set(mode) & set("wax+")
    return path if writes else None


#: Of each operation, the path that it changes, if it changes any.
_CHANGED: dict[str, Callable[..., Any]] = {
    "open": _opened,
    "os.rename": lambda source, target, *_: target,
    "os.remove": lambda path, *_: path if os.path.lexists(path) else None,
    "os.rmdir": lambda path, *_: path if os.path.lexists(path) else None,
    "os.mkdir": lambda path, *_: None if os.path.lexists(path) else path,
}


def watch(root: Path, on_step: OnStep, *, flush: bool = False, reads: bool = False) -> None:
    """Report each step below `root` to `on_step`, until the process ends; flush only if asked.

    With `reads`, opening a file for reading is a step, too.
    """
    below = f"{root}/"

    def hook(name: str, arguments: tuple[Any, ...]) -> None:
        changed = _CHANGED.get(name)
        if changed is not None and not isinstance(arguments[0], int):
            path = changed(*arguments)
            if reads and path is None and name == "open":
                name, path = "read", arguments[0]
            if path is not None and (where := str(path)).startswith(below):
                on_step(name.removeprefix("os."), where.removeprefix(below))

    sys.addaudithook(hook)
    write = os.write

    def written(descriptor: int, data: Any) -> int:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if path.startswith(below):
            on_step("write", path.removeprefix(below))
        return write(descriptor, data)

    os.write = written
    sync_file_system = durability.sync_file_system

    def flushed(path: Path) -> None:
        on_step("flush", "")
        if flush:
            sync_file_system(path)

    durability.sync_file_system = flushed
    sync_file = durability.sync_file

    def synced(path: str | Path) -> None:
        where = str(path)
        if where.startswith(below):
            on_step("sync", where.removeprefix(below))
        elif where == str(root):
            on_step("sync", "")
        if flush:
            sync_file(path)

    durability.sync_file = synced

    def commit() -> None:
        if threading.current_thread().name not in HEARTBEATS:
            on_step("commit", "")

    watch_commits(commit)


def watch_bucket(on_step: OnStep) -> None:
    """Report each object that is put or removed to `on_step`, until the process ends.

    There is no pause before another attempt.
    """
    sending._PAUSE = 0
    for name in ("put", "remove"):

        def change(self: Objects, key: str, *more: Any, do: Any, what: str, **named: Any) -> Any:
            on_step(f"s3 {what}", key.removeprefix(self.bucket.key("")))
            return do(self, key, *more, **named)

        setattr(Objects, name, partialmethod(change, do=getattr(Objects, name), what=name))


#: What a server of object storage answers where a disk says this.
_ANSWERS = {
    errno.ENOSPC: (503, "SlowDown"),
    errno.EIO: (500, "InternalError"),
    errno.EACCES: (403, "AccessDenied"),
    errno.EROFS: (400, "ExpiredToken"),
}


def failure(what: str, number: int, path: Path) -> Exception:
    """What a step ends with where the system, or a server, fails it with `number`."""
    if what.startswith("s3 "):
        return RequestError(*_ANSWERS[number], "as the test wants")
    if what == "commit":
        said = _SQLITE.get(number, "disk I/O error")
        return OperationalError("COMMIT", {}, sqlite3.OperationalError(said))
    return OSError(number, os.strerror(number), str(path))
