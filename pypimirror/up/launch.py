"""Becomes another program that does not outlive its parent.

`python -P -m pypimirror.up.launch PARENT PROGRAM ARGUMENT…`: PARENT is a process id. Where the
system can do that (Linux), the program is killed as soon as that process is gone, however it went.
It would not end in order anyhow: Prefect's programs say something first, and nobody listens.
"""

from __future__ import annotations

import os
import signal
import sys

from pypimirror.up.processes import end_with_parent


def main() -> None:
    """Replace this process."""
    parent, *command = sys.argv[1:]
    end_with_parent(signal.SIGKILL)
    if os.getppid() != int(parent):  # it went before that was asked for
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
