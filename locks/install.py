"""Installs what locks say into the environment of this Python: `python locks/install.py LOCK...`.

Several pips work side by side, since each asks the index for one project after the other. They do
not meet: a lock is complete, so each installs its share and looks for nothing else.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

#: So many wait for an index at once, and unpack.
PIPS = 4

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "-qq")
OPTIONS = ("--require-hashes", "--no-deps", "--no-compile")


def shares(locks: Sequence[str], number: int) -> list[str]:
    """Deal out the requirements of locks, each with its hashes; those in two locks only once."""
    found = [entry for text in locks for entry in re.findall(r"^\w.*?[^\\]\n", text, re.M | re.S)]
    every = list(dict.fromkeys(found))
    return [share for n in range(number) if (share := "".join(every[n::number]))]


def main(paths: Sequence[str]) -> int:
    """Install; return 1 where a pip failed, which has said why."""
    with tempfile.TemporaryDirectory() as directory:
        running = []
        for n, share in enumerate(shares([Path(path).read_text() for path in paths], PIPS)):
            file = Path(directory, f"{n}.txt")
            file.write_text(share)
            running.append(subprocess.Popen([*PIP, *OPTIONS, "--requirement", str(file)]))
        codes = [each.wait() for each in running]
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
