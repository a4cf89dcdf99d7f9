"""Forks the children of runs from a process that has imported everything already.

Imports are most of the cost of a short run: a second of CPU for each test that syncs. The child's
own code runs unchanged, from its `main` on, in a process of its own. That process is a child of the
tests' process, as always, so code that ends, kills and waits for children sees no difference.
`tests/system/test_workers.py`, `tests/download`, `tests/cli` and `tests/e2e` test the real start of
children.

On Linux only; elsewhere children are started as always.
"""

from __future__ import annotations

import _socket
import array
import ctypes
import json
import os
import platform
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from pypimirror.system import children

#: The modules to import first, by the module of the child.
PREPARED = {
    "pypimirror.download.worker": """
import gevent.events
gevent.events.notify_and_call_entry_points = gevent.events.notify
from gevent import monkey
monkey.patch_all()
from pypimirror.download.engine.loop import main
""",
    "pypimirror.verify.worker": "from pypimirror.verify.worker import main",
    "pypimirror.pipeline.executors.child": "from pypimirror.pipeline.executors.child import main",
}

#: The number of clone(2), by machine, whose first argument is the flags.
CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine())
#: The child's parent is the caller's parent, which gets SIGCHLD at its end.
CLONE_PARENT, SIGCHLD = 0x8000, 17

_running: dict[str, Zygote] = {}

_START = children.start


def is_possible() -> bool:
    """Whether this system can fork children so."""
    return sys.platform == "linux" and CLONE is not None


def start(module: str) -> subprocess.Popen[bytes]:
    """Start a child, as `pypimirror.system.children` does."""
    if module not in PREPARED:
        return _START(module)
    if module not in _running:
        _running[module] = Zygote(module)
    pipe = subprocess.PIPE
    return _Forked([module], stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)


def close() -> None:
    """End the processes that children are forked from."""
    for zygote in _running.values():
        zygote.close()
    _running.clear()


class Zygote:
    """The process that a module's children are forked from."""

    def __init__(self, module: str) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        code = f"{PREPARED[module]}\nfrom tests.zygote import serve\nserve(main)"
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", code, str(theirs.fileno())],
            env=os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(__file__))},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def fork(self, streams: tuple[int, int, int]) -> int:
        """Fork a child with these standard streams; return its process id."""
        about = json.dumps({"environment": dict(os.environ), "directory": os.getcwd()})
        socket.send_fds(self._control, [about.encode()], list(streams))
        return int(self._control.recv(100))

    def close(self) -> None:
        self._control.close()
        self._process.wait()


class _Forked(subprocess.Popen[bytes]):
    """A child that another process forked, but whose parent is this process."""

    def _execute_child(self, args: list[str], *others: Any) -> None:
        pipes = others[9:15]  # both ends of standard input, output and error
        self.pid = _running[args[0]].fork((pipes[0], pipes[3], pipes[5]))
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def serve(main: Callable[[], NoReturn]) -> NoReturn:
    """Fork a child for each message, until there are no more.

    Nothing here may be gevent's, which would need its loop: `os.close` is, `_socket.close` is not.
    """
    control = _socket.socket(fileno=int(sys.argv[1]))
    while True:
        about, control_data, _, _ = control.recvmsg(1 << 20, _socket.CMSG_SPACE(3 * 4))
        if not about:
            os._exit(0)
        streams = array.array("i", control_data[0][2])
        if (pid := _fork()) == 0:
            control.close()
            _become(streams, json.loads(about))
            main()
        for stream in streams:
            _socket.close(stream)
        control.send(str(pid).encode())


def _fork() -> int:
    """Do fork(2), but the child's parent is the caller's parent."""
    python = ctypes.pythonapi
    python.PyOS_BeforeFork()
    pid: int = ctypes.PyDLL(None).syscall(CLONE, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        python.PyOS_AfterFork_Child()
    else:
        python.PyOS_AfterFork_Parent()
    assert pid >= 0, "clone failed"
    return pid


def _become(streams: array.array[int], about: dict[str, Any]) -> None:
    if "gevent" in sys.modules:
        import gevent

        gevent.reinit()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        _socket.close(stream)
    os.setpgid(0, 0)
    os.chdir(about["directory"])
    os.environ.clear()
    os.environ.update(about["environment"])
