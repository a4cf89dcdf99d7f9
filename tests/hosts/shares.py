"""The way from a host to a directory that hosts share, as to a file server.

Before each step in the directory (`tests.crash.steps`), a process asks here whether it may take it.
So a test counts these steps as messages, lets them fail as those of a file server that is away, or
lets them wait. What the system remembers without asking, such as whether a file is there, is not
covered.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from pathlib import Path

from tests.crash import steps
from tests.hosts.network import State, Watch


class Share:
    """Answers the processes of a host; made like a `Link`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.watch: Watch = lambda: None
        self._state = State.OPEN
        self._changed = threading.Condition()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, state: State) -> None:
        """Break or mend the way."""
        with self._changed:
            self._state = state
            self._changed.notify_all()

    def close(self) -> None:
        """Let everything fail from now on."""
        self.set(State.CUT)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                process, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(process,), daemon=True).start()

    def _answer(self, process: socket.socket) -> None:
        with process, contextlib.suppress(OSError):
            while process.recv(1):
                self.watch()
                with self._changed:
                    self._changed.wait_for(lambda: self._state is not State.SILENT)
                    process.sendall(b"x" if self._state is State.CUT else b".")


def use(root: Path, path: str) -> None:
    """Let this process reach the directory `root` by the share at `path` alone."""
    share, one = socket.socket(socket.AF_UNIX), threading.Lock()
    share.connect(path)

    def ask(what: str, where: str) -> None:
        if what == "commit":  # of the catalog, which is elsewhere
            return
        with one:
            share.sendall(b".")
            answer = share.recv(1)
        if answer != b".":
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(root / where))

    steps.watch(root, ask, reads=True)
