"""Resolvers as child processes: their environment, their end, their output.

**The rule.** A resolver gets only its question. Its environment is new: it has no configuration,
login, keyring, cache, proxy or index of the person or the machine. When its time is over, or when
this process is interrupted, it is killed with its own children. If this process is killed itself,
the resolver ends with its answer, which nobody reads.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pypimirror.domain.addresses import redacted
from pypimirror.domain.model import PypimirrorError
from pypimirror.system import clock
from pypimirror.system.workers import Cancelled

PATIENCE = 600.0  #: seconds in which a resolver must answer
_LOOK = 0.5  #: seconds between two checks whether the run was cancelled
_GRACE = 5.0  #: seconds in which a killed resolver must be gone
_LONGEST = 4000  #: characters of its output in messages

#: Variables that a resolver gets from this process: the places of programs and temporary files.
_KEPT = ("PATH", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT")

# How uv marks its output: words, crosses and arrows.
_PREFIX = re.compile(r"^\s*(?:error:|cause:|[\u00d7\u2500-\u257f\u25b6\s]+|Caused by:)\s*", re.I)


class ResolveError(PypimirrorError):
    """A resolver cannot run, or did not answer; the message says what to do."""


class NoResultError(ResolveError):
    """The resolver ran, and gave neither a solution nor a reason why there is none.

    The usual cause is an index that it cannot reach.
    """


class NoSolutionError(ResolveError):
    """The resolver found no solution; the message is its reason."""


class CompletedResolver(NamedTuple):
    """The exit code and the output of a resolver."""

    code: int
    out: str
    err: str


def bare(scratch: str) -> dict[str, str]:
    """Return an environment without settings, in which a program stores nothing."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    # Without a home directory there is no netrc, no stored login and no cache.
    return kept | {"HOME": scratch, "NETRC": os.devnull, "NO_COLOR": "1"}


def write(file: Path, lines: Sequence[str]) -> str:
    """Write a file of requirements; return its path."""
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(file)


def run(
    command: Sequence[str],
    variables: Mapping[str, str],
    directory: str,
    patience: float,
    cancelled: threading.Event | None = None,
) -> CompletedResolver:
    """Run a resolver to its end.

    Raises `NoResultError` if that takes more than `patience` seconds, and `Cancelled` soon after
    another thread sets `cancelled`.
    """
    name = Path(command[0]).name
    try:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(variables),
            cwd=directory,  # a directory without a project and a version file
            start_new_session=True,
        )
    except OSError as error:
        cause = error.strerror or error
        raise ResolveError(f"{command[0]} cannot be run: {cause}") from error
    ended = clock.steady() + patience
    try:
        while True:
            try:
                out, err = started.communicate(timeout=_LOOK)
                break
            except subprocess.TimeoutExpired as error:
                if cancelled is not None and cancelled.is_set():
                    raise Cancelled("cancelled") from error
                if clock.steady() > ended:
                    shown = f"{patience:.0f} s"
                    raise NoResultError(f"{name} has not answered within {shown}") from error
    except BaseException:
        with contextlib.suppress(OSError):
            os.killpg(started.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.communicate(timeout=_GRACE)
        raise
    return CompletedResolver(
        started.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
    )


def told(err: str) -> str:
    """Return the output as one text, without marks, warnings, logins and line breaks."""
    kept: list[str] = []
    for line in err.splitlines():
        text = _PREFIX.sub("", line).strip()
        if text and not line.lower().startswith("warning:"):
            kept.append("".join(c if c.isprintable() else " " for c in text))
    return redacted(" ".join(kept) or "it did not say why")[:_LONGEST]
