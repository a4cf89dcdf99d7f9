"""The fetcher's process: started with the server, started again when it dies, ended with it.

It gets one end of a pair of sockets, and ends when its input ends. So it also ends if this server
is killed. Its standard output and standard error go to the standard error of this server.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import gevent
from gevent import socket, subprocess
from gevent.event import Event

from pypimirror.on_demand.messages import MODULE
from pypimirror.serve.demand.link import Link
from pypimirror.serve.processes import keeping
from pypimirror.serve.processes.keeping import ended, keep

#: The program; tests use another one.
PROGRAM: tuple[str, ...] = ("-m", MODULE)


class FetcherProcess:
    """The fetcher of one server, for the mirror of the configuration file `config`."""

    def __init__(self, config: Path, link: Link) -> None:
        self._config = config
        self._link = link
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = Event()
        self._keeper: gevent.Greenlet[..., None] | None = None

    def start(self) -> None:
        """Start it, and keep it running."""
        self._keeper = gevent.spawn(keep, self._stopping, self._once, "what is held is served")

    def end(self) -> None:
        """End it; kill it if it takes more than `keeping.GRACE` seconds."""
        self._stopping.set()
        self._link.hang_up()
        if self._keeper is not None:
            self._keeper.join(keeping.GRACE)
        if self._process is not None:
            self._process.kill()

    def _once(self) -> str:
        """Start a fetcher, and talk to it until it ends. Return what happened."""
        self._link.begin()
        try:
            ours, theirs = socket.socketpair()
            with theirs:
                os.set_blocking(theirs.fileno(), True)  # gevent's sockets are not
                self._process = self._start(theirs.fileno())
            why = self._link.talk(ours)
            return f"{why} with {ended(self._process)}"
        except OSError as error:
            return f"The fetcher could not be started ({error})"
        finally:
            self._link.end()

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-P", *PROGRAM]
        return subprocess.Popen(
            [*command, "--config", str(self._config), "--link", str(number)],
            stdin=subprocess.DEVNULL,
            stdout=2,
            pass_fds=[number],
            process_group=0,  # Ctrl-C at a terminal reaches only the server, which decides
        )
