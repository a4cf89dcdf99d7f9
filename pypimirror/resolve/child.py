"""Resolvers as child processes: what they find in their environment, how they end, what they say.

**The rule.** A resolver hears nothing but its question. Its environment is made from nothing: no
configuration, login, keyring, cache, proxy or index of the person or the machine. It ends when its
time is over or when who asked ends, and what it has started ends with it.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pypimirror.domain.addresses import redacted
from pypimirror.domain.model import PypimirrorError

PATIENCE = 600.0  #: seconds until an answer has to be there
_GRACE = 5.0  #: seconds until what was killed has to be gone
_LONGEST = 4000  #: characters of what it said that are told

#: What is kept of this process's environment: where programs and scratch space are.
_KEPT = ("PATH", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT")

# How uv marks what it says: words, crosses and arrows.
_PREFIX = re.compile(r"^\s*(?:error:|cause:|[\u00d7\u2500-\u257f\u25b6\s]+|Caused by:)\s*", re.I)


class ResolveError(PypimirrorError):
    """A resolver cannot be asked, or did not answer; the message says what to do."""


class NoSolutionError(ResolveError):
    """A resolver's answer is that nothing fits; the message is its reason."""


class Ended(NamedTuple):
    """How a resolver ended, and what it wrote."""

    code: int
    out: str
    err: str


def bare(scratch: str) -> dict[str, str]:
    """Return an environment in which a program is told nothing, and keeps nothing."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # Without a home there is no netrc, no store of logins and no cache.
    return kept | {"HOME": scratch, "NETRC": os.devnull, "NO_COLOR": "1"}


def write(file: Path, lines: Sequence[str]) -> str:
    """Write a file of requirements; return its path."""
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(file)


def run(
    command: Sequence[str], variables: Mapping[str, str], directory: str, patience: float
) -> Ended:
    """Run a resolver to its end; raises `ResolveError` where that does not come in time."""
    name = Path(command[0]).name
    try:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(variables),
            cwd=directory,  # where no project and no version file is found
            start_new_session=True,
        )
    except OSError as error:
        cause = error.strerror or error
        raise ResolveError(f"{command[0]} cannot be run: {cause}") from error
    try:
        out, err = started.communicate(timeout=patience)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.killpg(started.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.communicate(timeout=_GRACE)
        if isinstance(error, subprocess.TimeoutExpired):
            raise ResolveError(f"{name} has not answered within {patience:.0f} s") from error
        raise
    return Ended(started.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace"))


def told(err: str) -> str:
    """Return what was written as one text, without marks, warnings, logins and broken lines."""
    kept: list[str] = []
    for line in err.splitlines():
        text = _PREFIX.sub("", line).strip()
        if text and not line.lower().startswith("warning:"):
            kept.append("".join(c if c.isprintable() else " " for c in text))
    return redacted(" ".join(kept) or "it did not say why")[:_LONGEST]
