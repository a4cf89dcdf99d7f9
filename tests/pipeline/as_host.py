"""A command on a machine that calls itself something else, with a lease of another pace.

python -m tests.pipeline.as_host HOST HEARTBEAT COMMAND…

What a machine is called, and what its kernel says of itself, is all that is different from a
second machine: locks, leases and databases are the real ones.
"""

from __future__ import annotations

import sys

from pypimirror.catalog import holder, lease
from pypimirror.cli import main


def run(host: str, heartbeat: str, *command: str) -> None:
    """Run a command of pypimirror; ends the process."""
    machine = holder.Machine(host, id=host, boot=host, namespace="pid:[1]")
    holder.this_machine = lambda: machine
    lease.PACE = lease.LeaseTimes(heartbeat=float(heartbeat), again=float(heartbeat))
    sys.argv = ["pypimirror", *command]
    main.main()


if __name__ == "__main__":
    run(*sys.argv[1:])
