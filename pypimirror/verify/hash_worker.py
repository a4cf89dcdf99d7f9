"""The child that hashes files: `python -P -m pypimirror.verify.hash_worker NUMBER`.

It starts in a tenth of the time of other workers, because it imports hardly anything. So its
messages are plain values, in the encoding that the interpreter itself has. It gets requests at its
standard input, and gives one answer to each at the descriptor NUMBER, in their order:

* A mirror root: hash files below its `packages/` until the next request comes. The answer has an
  `Ahead` for each, by path. A verification asks for this while it still imports modules.
* A list of `Task`: hash these files. The answer is a list with a `HashAnswer` for each; None if
  there was an error: then the parent reads the file itself, and reports what it meets.

Like all children, it ends when its input ends, even in the middle of a file.
"""

from __future__ import annotations

if __name__ == "__main__":
    from pypimirror.system import abrupt

    abrupt.install(signals=False)

import marshal
import os
import sys
import threading
from queue import SimpleQueue

from pypimirror.storage.stamps import walk
from pypimirror.verify.hashing import Hashed, hash_file, hash_sidecar

TYPE_CHECKING = False  # the module typing is slow to import
if TYPE_CHECKING:
    from typing import Any

#: Path, mirror root, algorithms, and the paths of core metadata and attestations, or "".
Task = tuple[str, str, tuple[str, ...], str, str]
#: Size, digests and stamp, and the sha256 of core metadata and attestations; see `hashing`.
HashAnswer = tuple[int, dict[str, str], int, str, str]
#: The result for a file that was hashed ahead, and its ctime before that, in nanoseconds. Whoever
#: changes a file can restore its mtime, which a stamp has, but not its ctime.
Ahead = tuple[Hashed, int]

#: Files that are hashed ahead at most, and the bytes of the largest: the next request waits for it.
_MOST, _LARGEST = 3_000, 16 << 20


def hash_all(task: Task) -> HashAnswer:
    """Hash a file and its sidecars. Raises `OSError`."""
    path, root, algorithms, sidecar, provenance = task
    size, digests, stamp = hash_file(path, algorithms, root)
    return size, digests, stamp, hash_sidecar(sidecar, root), hash_sidecar(provenance, root)


def message(value: Any) -> bytes:
    """Return the bytes of a message."""
    data = marshal.dumps(value)
    return len(data).to_bytes(4, "big") + data


def send(descriptor: int, value: Any) -> None:
    """Write a message to a pipe. Raises `OSError`."""
    left = memoryview(message(value))
    while left:
        left = left[os.write(descriptor, left) :]


def receive(descriptor: int) -> Any:
    """Read a message from a pipe. Raises `OSError`, and `EOFError` at the end."""
    size = int.from_bytes(_read(descriptor, 4), "big")
    return marshal.loads(_read(descriptor, size))  # noqa: S302 - of this program's own process


def _read(descriptor: int, size: int) -> bytes:
    parts = []
    while size:
        parts.append(os.read(descriptor, size))
        if not parts[-1]:
            raise EOFError
        size -= len(parts[-1])
    return b"".join(parts)


def _answer(task: Task) -> HashAnswer | None:
    try:
        return hash_all(task)
    except (OSError, ValueError):
        return None


def _ahead(root: str, requests: SimpleQueue[Any]) -> dict[str, Ahead]:
    """Hash files below a mirror root until there is another request."""
    found: dict[str, Ahead] = {}
    for path, entry in walk(root, "packages", lambda _: None):
        if not requests.empty() or len(found) == _MOST:
            break
        try:
            before = entry.stat(follow_symlinks=False)
            if before.st_size <= _LARGEST:
                hashed = hash_file(f"{root}/{path}", (), f"{root}/")
                found[f"{root}/{path}"] = hashed, before.st_ctime_ns
        except OSError:
            continue
    return found


def _receive_all(requests: SimpleQueue[Any]) -> None:
    """Read requests until the input ends; then end the process."""
    try:
        while True:
            requests.put(receive(0))
    except (OSError, EOFError):
        os._exit(0)
    finally:  # also if memory ran out: otherwise the parent would wait for ever
        os._exit(1)


def main() -> None:
    """Answer requests until the input ends."""
    answers = int(sys.argv[1])
    requests: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_receive_all, args=(requests,), daemon=True).start()
    while True:
        request = requests.get()
        if isinstance(request, str):
            send(answers, _ahead(request, requests))
        else:
            send(answers, [_answer(task) for task in request])


if __name__ == "__main__":
    main()
