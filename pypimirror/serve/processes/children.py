"""Starts, watches and stops the other processes of a web server, and tells them believed pages.

They inherit the listening socket. So if one of them dies, no waiting connection is lost, and a
process that hangs gets no new connections.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable

import gevent
import msgspec
from gevent import socket, subprocess
from gevent.event import Event
from gevent.queue import SimpleQueue

from pypimirror.serve.processes.channel import Believed, Channel, Message
from pypimirror.serve.processes.keeping import ended, keep

MODULE = "pypimirror.serve.processes.program"

#: Most messages about pages that wait for a process. It also works without them.
_WAITING = 10_000
#: Seconds in which such messages are gathered. An installer asks for many pages, each of them once.
GATHER = 0.1

_MEANWHILE = "the other processes serve meanwhile"


class Children:
    """`number` processes that serve `directory` on `listener`, and count in the file `counts`.

    `hear` gets their messages. `believed`, with on demand, returns the pages to tell a new process.
    """

    def __init__(
        self,
        directory: str,
        hear: Callable[[Message], None],
        believed: Callable[[], Iterable[Believed]] | None,
        *,
        number: int,
        listener: int,
        counts: int,
        verbose: bool,
    ) -> None:
        self._hear = hear
        self._believed = believed
        self._number = number
        self._inherited = (listener, counts)
        self._command = [sys.executable, "-P", "-m", MODULE, "--directory", directory]
        self._command += ["--listener", str(listener), "--counts", str(counts)]
        self._command += ["--rows", str(number + 1)]
        self._command += ["--on-demand"] * (believed is not None) + ["--verbose"] * verbose
        self._stopping = Event()
        self._news: dict[Channel, SimpleQueue[Believed]] = {}
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._keepers: list[gevent.Greenlet[..., None]] = []

    def start(self) -> None:
        """Start them, and keep them running."""
        for row in range(1, self._number + 1):
            self._keepers.append(gevent.spawn(self._keep, row))

    def tell(self, page: Believed) -> None:
        """Tell all of them that a page is believed."""
        for news in self._news.values():
            if news.qsize() < _WAITING:
                news.put(page)

    def stop(self) -> None:
        """Let them accept no more connections, and end."""
        self._stopping.set()
        for channel in self._news:
            channel.hang_up()

    def join(self, until: float) -> None:
        """Wait until they have ended; kill those that are left at a time (monotonic seconds)."""
        gevent.joinall(self._keepers, max(0.0, until - time.monotonic()))
        for process in self._processes.values():
            process.kill()

    def _keep(self, row: int) -> None:
        keep(self._stopping, lambda: self._once(row), _MEANWHILE)

    def _once(self, row: int) -> str:
        """Start a process, and listen to it until it ends. Return what happened."""
        what = f"Process {row + 1} of the web server"
        ours, theirs = socket.socketpair()
        channel = Channel(ours)
        try:
            with theirs:
                process = self._start(row, theirs.fileno())
            why = self._talk(channel)
        except OSError as error:
            return f"{what} could not be started ({error})"
        finally:
            channel.close()
        self._processes.pop(row)
        return f"{what} {why} with {ended(process)}"

    def _start(self, row: int, channel: int) -> subprocess.Popen[bytes]:
        self._processes[row] = subprocess.Popen(
            [*self._command, "--channel", str(channel), "--row", str(row)],
            stdin=subprocess.DEVNULL,
            stdout=2,
            pass_fds=[channel, *self._inherited],
            process_group=0,  # Ctrl-C at a terminal reaches only the first process, which decides
        )
        return self._processes[row]

    def _talk(self, channel: Channel) -> str:
        """Listen until the process ends. Return why, as words of a sentence."""
        news = self._news[channel] = SimpleQueue()
        for page in self._believed() if self._believed is not None else ():
            news.put(page)
        writer = gevent.spawn(_tell, channel, news)
        try:
            if self._stopping.is_set():
                channel.hang_up()
            for message in channel.messages():
                self._hear(message)
        except ConnectionError:  # it was killed, and had not read everything
            return "ended"
        except (OSError, msgspec.MsgspecError) as error:
            return f"cannot be understood ({error}), and ended"
        finally:
            del self._news[channel]
            writer.kill()
        return "ended"


def _tell(channel: Channel, news: SimpleQueue[Believed]) -> None:
    """Send messages soon. A slow reader holds up only this greenlet."""
    try:
        while True:
            first = news.get()
            gevent.sleep(GATHER)
            channel.send(first, *(news.get() for _ in range(news.qsize())))
    except OSError:
        return  # its end is seen, too
