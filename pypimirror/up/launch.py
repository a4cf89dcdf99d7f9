"""Replace this process by a program that does not outlive its parent.

`python -P -m pypimirror.up.launch PARENT PROGRAM ARGUMENT…`: PARENT is a process id. On Linux, the
system kills the program as soon as that process is gone. The program could not end in order anyway:
Prefect's programs print something first, and nobody reads it any more.
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
    if os.getppid() != int(parent):  # the parent ended before that took effect
        sys.exit(1)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
