"""Parts: the bytes in staging of files that are not proven yet, and which worker has them.

The rules:

* Each worker stages in a directory of its own. Its name is never used again. So a worker that was
  stopped, lost its claims and wakes up cannot write into bytes that somebody else has proven.
* A worker that ends gives its parts back to the common directory. Another worker takes a part from
  there by a rename, so only one gets it.
* The parts of a dead worker go to the common directory, too. Its download process may outlive it
  for a moment. A finished part is open nowhere, so it is moved. An unfinished part, which has a
  note beside it, may be open: its bytes are copied, and what that process still writes is lost.
* Parts of any other worker are never shared. They may be removed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from pypimirror.system import regular

PART, NOTE = ".part", ".part.json"

_COPY = ".parted"


def take(common: str, own: str, ids: Iterable[int]) -> None:
    """Move the parts of files from the common directory to that of a worker. Raises `OSError`."""
    for number in ids:
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{common}/{number}{PART}", f"{own}/{number}{PART}")  # noqa: PTH105


def take_unfinished(common: str, own: str, ids: Iterable[int]) -> None:
    """Move parts that a transfer can continue, with their notes. Raises `OSError`."""
    for number in ids:
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{common}/{number}{NOTE}", f"{own}/{number}{NOTE}")  # noqa: PTH105
            os.replace(f"{common}/{number}{PART}", f"{own}/{number}{PART}")  # noqa: PTH105


def give_back(common: Path, own: Path) -> None:
    """Move all parts of this worker to the common directory, and remove its own."""
    _empty(common, own, shared=True, is_dead=False)


def collect(common: Path, own: Path) -> None:
    """Move or copy the parts of a dead worker to the common directory, and remove its own."""
    _empty(common, own, shared=True, is_dead=True)


def drop(own: Path) -> None:
    """Remove the directory of a worker that may be alive and has no claims any more."""
    _empty(own, own, shared=False, is_dead=False)


def directories(common: Path) -> Iterator[tuple[int, Path]]:
    """Yield the id and the directory of each worker that has one. Raises `OSError`."""
    with os.scandir(common) as entries:
        for entry in entries:
            if entry.name.isdecimal() and entry.is_dir(follow_symlinks=False):
                yield int(entry.name), Path(entry.path)


def _empty(common: Path, own: Path, *, shared: bool, is_dead: bool) -> None:
    try:
        # No worker makes directories, so these are not ours. They stay.
        with os.scandir(own) as found:
            names = {each.name for each in found if not each.is_dir(follow_symlinks=False)}
    except FileNotFoundError:
        return
    for name in names:
        path = own / name
        is_part = shared and name.endswith((PART, NOTE)) and regular.is_here(str(path))
        with contextlib.suppress(FileNotFoundError):
            if not is_part:
                path.unlink()
            elif is_dead and name.endswith(PART) and f"{name}.json" in names:
                _copy(path, common / name)
            else:
                path.replace(common / name)
    with contextlib.suppress(OSError):  # something is there that is not ours, or just came
        own.rmdir()


def _copy(part: Path, target: Path) -> None:
    fresh = target.with_name(target.name + _COPY)
    try:
        shutil.copyfile(part, fresh)
        fresh.replace(target)
    except OSError:  # as without space: then the file is fetched from its start
        fresh.unlink(missing_ok=True)
    part.unlink()
