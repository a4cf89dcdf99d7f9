"""The holder of a lease: a process that can be told apart from any other, on any machine, at any
time.

These rules tell whether a holder is alive or dead, as seen from another process:

* It has the same boot id and the same namespace of process ids as we have: it is alive if a process
  with its id exists that started at the same time. Process ids are used again, start times are not.
* It was on our machine, and the machine was restarted since: it is dead. Host name and machine id
  together identify a machine. Each alone may be shared by containers and copies.
* In all other cases, such as another machine or another container on this one, nobody can tell.
  Then the time since its last heartbeat counts.
"""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

import msgspec

from pypimirror.system import machine


class Fate(Enum):
    """Whether a holder is alive."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


class Machine(msgspec.Struct, frozen=True):
    """Where processes run. Unknown values are empty."""

    host: str
    id: str = ""  #: machine id of the installed system
    boot: str = ""  #: boot id of the kernel; all its containers have the same
    namespace: str = ""  #: namespace of process ids


class Holder(msgspec.Struct, frozen=True):
    """A process that holds, or held, a lease."""

    machine: Machine
    pid: int
    started: int  #: start time, in clock ticks after the kernel's; 0: unknown
    token: str  #: new each time that a process takes the lease

    def fate(self, here: Machine) -> Fate:
        """Return whether it is alive, as far as a process on `here` can tell."""
        there = self.machine
        if there.boot and there.boot == here.boot:
            if not there.namespace or there.namespace != here.namespace:
                return Fate.UNKNOWN
            return Fate.ALIVE if _start(self.pid) == self.started else Fate.DEAD
        if there.host != here.host:
            return Fate.UNKNOWN
        if there.boot and here.boot:
            return Fate.DEAD if there.id and there.id == here.id else Fate.UNKNOWN
        # No /proc, so there are no containers either, and process ids are unique.
        return Fate.UNKNOWN if _is_running(self.pid) else Fate.DEAD

    def __str__(self) -> str:
        return f"process {self.pid} on {self.machine.host}"


def this_machine() -> Machine:
    """Return the machine that this process runs on."""
    return Machine(
        host=machine.host(),
        id=machine.installed(),
        boot=machine.boot(),
        namespace=machine.namespace(),
    )


def this_process(machine: Machine) -> Holder:
    """Return this process as a holder, with a new token each time."""
    pid = os.getpid()
    return Holder(machine, pid, _start(pid), os.urandom(8).hex())


def _start(pid: int) -> int:
    """Return the start time of a process; 0 if there is none or it is unknown."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = status.rpartition(")")[2].split()  # after the name, which may contain anything
    return 0 if fields[0] in "ZX" else int(fields[19])


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
