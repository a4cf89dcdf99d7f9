"""Who works on a mirror: a process, told apart from every other one on any machine, ever.

The rules by which a holder is known to be alive or dead, as seen from another process:

* Its kernel still runs, and its numbers of processes are ours (same boot id, same namespace): it
  lives as long as there is a process of its number that started when it did. Numbers are used
  again, times of a start are not.
* Its machine is ours and has been started again since: it is dead. A machine is known by its host
  name and its machine id together; each alone is shared by containers and copies.
* Everything else, such as another machine or another container on this one, cannot be told: there
  it counts how long nothing has been heard of it.
"""

from __future__ import annotations

import os
import secrets
from enum import Enum
from pathlib import Path

import msgspec

from pypimirror.system import machine


class Fate(Enum):
    """What is known of a holder."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


class Machine(msgspec.Struct, frozen=True):
    """Where processes run; what is not known is empty."""

    host: str
    id: str = ""  #: of the installed system
    boot: str = ""  #: of the running kernel: all of its containers have the same
    namespace: str = ""  #: in which numbers of processes are unique


class Holder(msgspec.Struct, frozen=True):
    """A process that holds, or has held, a lease."""

    machine: Machine
    pid: int
    started: int  #: clock ticks after the start of the kernel; 0 where not known
    token: str  #: differs each time that a process takes the lease

    def fate(self, here: Machine) -> Fate:
        """Say whether it lives, as far as that can be told from a process on `here`."""
        there = self.machine
        if there.boot and there.boot == here.boot:
            if not there.namespace or there.namespace != here.namespace:
                return Fate.UNKNOWN
            return Fate.ALIVE if _start(self.pid) == self.started else Fate.DEAD
        if there.host != here.host:
            return Fate.UNKNOWN
        if there.boot and here.boot:
            return Fate.DEAD if there.id and there.id == here.id else Fate.UNKNOWN
        # No /proc, and so no containers either: a system of its own kind.
        return Fate.UNKNOWN if _is_running(self.pid) else Fate.DEAD

    def __str__(self) -> str:
        return f"process {self.pid} on {self.machine.host}"


def this_machine() -> Machine:
    """Describe the machine that this process runs on."""
    return Machine(
        host=machine.host(),
        id=machine.installed(),
        boot=machine.boot(),
        namespace=machine.namespace(),
    )


def this_process(machine: Machine) -> Holder:
    """Describe this process, as a holder of its own each time."""
    pid = os.getpid()
    return Holder(machine, pid, _start(pid), secrets.token_hex(8))


def _start(pid: int) -> int:
    """Return when a process started; 0 where there is none, or where that is not told."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = status.rpartition(")")[2].split()  # behind the name, which may hold anything
    return 0 if fields[0] in "ZX" else int(fields[19])


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
