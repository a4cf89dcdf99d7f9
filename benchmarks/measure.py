"""Runs one command and measures its cost: time, CPU and memory of its whole process tree.

It uses no control groups. CPU comes from `wait4`, which counts every descendant that was waited
for. Memory comes from samples of the tree's proportional set size in /proc. The CPU that the rest
of the machine used meanwhile is reported too, since it makes a measurement doubtful.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_TICK = os.sysconf("SC_CLK_TCK")
_SOON, _LATER = 0.03, 0.15  #: seconds between samples, in the first second and after it
WORKER = b"pypimirror.download.worker"


@dataclass(frozen=True)
class Cost:
    """The cost of one run of a command, in seconds and bytes."""

    seconds: float
    cpu: float  #: of the command and of the servers that belong to it
    peak: int  #: of all its processes together, proportional set size
    worker: int  #: of the largest download worker, resident set size; 0 without any
    upstream: float  #: CPU of the upstream
    foreign: float  #: CPU of everything else on the machine
    status: int  #: exit code; -9 if it was killed
    output: str
    errors: str  #: the end of its standard error


def children(pid: int) -> list[int]:
    """Return the direct children of a process."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_bytes().split())
    return found


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for each in found:
        found.extend(children(each))
    return found


def cpu_of(pids: Iterable[int]) -> float:
    """Return the CPU seconds of running processes and of the children that they have waited for.

    Those of the processes themselves are exact; the kernel counts those of the children in ticks.
    """
    seconds = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
            seconds += time.clock_gettime(_cpu_clock(pid)) + sum(map(int, fields[13:15])) / _TICK
    return seconds


def _cpu_clock(pid: int) -> int:
    """Return the clock of a process's CPU time, as `clock_getcpuclockid` of Linux does."""
    return (~pid << 3) | 2


def busy() -> float:
    """Return the CPU seconds that the machine has been busy since it started."""
    fields = Path("/proc/stat").read_bytes().split(b"\n", 1)[0].split()[1:]
    user, nice, system, _idle, _wait, hard, soft, steal = map(int, fields[:8])
    return (user + nice + system + hard + soft + steal) / _TICK


def memory_of(pid: int) -> int:
    """Return the proportional set size of a process, or its resident set size if it is hidden."""
    for name, key in (("smaps_rollup", b"Pss:"), ("status", b"VmRSS:")):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/{name}").read_bytes().split(b"\n"):
                if line.startswith(key):
                    return int(line.split()[1]) << 10
    return 0


class _Sampler(threading.Thread):
    """Watches the memory of process trees."""

    def __init__(self, roots: Sequence[int]) -> None:
        super().__init__(daemon=True)
        self._roots = roots
        self._ended = threading.Event()
        self._workers: dict[int, bool] = {}
        self.peak = 0
        self.worker = 0

    def run(self) -> None:
        started = time.monotonic()
        while True:
            self._sample()
            early = time.monotonic() - started < 1
            if self._ended.wait(_SOON if early else _LATER):
                return

    def stop(self) -> None:
        """End the watch."""
        self._ended.set()
        self.join()

    def _sample(self) -> None:
        total = 0
        for root in self._roots:
            for pid in tree(root):
                total += memory_of(pid)
                if self._is_worker(pid):
                    self.worker = max(self.worker, resident_peak(pid))
        self.peak = max(self.peak, total)

    def _is_worker(self, pid: int) -> bool:
        if not self._workers.get(pid):  # asked again: before exec it is still its parent
            with contextlib.suppress(OSError):
                self._workers[pid] = WORKER in Path(f"/proc/{pid}/cmdline").read_bytes()
        return self._workers.get(pid, False)


def resident_peak(pid: int) -> int:
    """Return the most memory that a process ever had, in bytes."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_bytes().split(b"\n"):
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) << 10
    return 0


def run(
    command: Sequence[str],
    *,
    env: dict[str, str],
    cwd: Path,
    timeout: float = 900,
    kill_after: float | None = None,
    beside: Sequence[int] = (),
    upstream: Sequence[int] = (),
) -> Cost:
    """Run a command to its end and return its cost.

    It is killed after `timeout` seconds, or after `kill_after`, with all its descendants.
    `beside` are servers that belong to the contestant, `upstream` those that it asks.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        all_upstream = [pid for root in upstream for pid in tree(root)]
        before = (busy(), cpu_of(all_upstream), _own_cpu(), _trees_cpu(beside))
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
        )
        sampler = _Sampler([process.pid, *beside])
        sampler.start()
        timer = threading.Timer(kill_after or timeout, kill_tree, [process.pid])
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - started
        except BaseException:
            kill_tree(process.pid)
            raise
        finally:
            timer.cancel()
            sampler.stop()
        process.returncode = os.waitstatus_to_exitcode(status)
        after = (busy(), cpu_of(all_upstream), _own_cpu(), _trees_cpu(beside))
        total, served, own, helped = (b - a for a, b in zip(before, after, strict=True))
        cpu = usage.ru_utime + usage.ru_stime + helped
        return Cost(
            seconds=seconds,
            cpu=cpu,
            peak=sampler.peak,
            worker=sampler.worker,
            upstream=served,
            foreign=max(0.0, total - cpu - served - own),
            status=process.returncode,
            output=_text(output),
            errors=_text(errors)[-2000:],
        )


def kill_tree(pid: int) -> None:
    """Kill a process and all its descendants with SIGKILL."""
    for each in reversed(tree(pid)):
        with contextlib.suppress(OSError):
            os.kill(each, signal.SIGKILL)


def stop(process: subprocess.Popen[bytes], patience: float = 10) -> None:
    """End a server and what it has started."""
    pids = tree(process.pid)
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        kill_tree(process.pid)
        process.wait()
    for pid in pids[1:]:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGTERM)


def _trees_cpu(roots: Sequence[int]) -> float:
    return cpu_of(pid for root in roots for pid in tree(root))


def _own_cpu() -> float:
    times = os.times()
    return times.user + times.system


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
