"""The standard streams and the locale that a process finds, made fit to work with.

Whoever starts a program may leave a stream closed, connect it to a full disk or to a reader that
goes, and choose a locale whose encoding lacks most letters. None of that is about the work:

- All three descriptors are open: a file that is opened later never becomes the standard output of
  a child.
- What cannot be written is lost, and never ends the work; `lost` says so to whoever chooses the
  exit code.
- Every text can be written: what the encoding lacks is written with signs that it has.
- Names of files are UTF-8 on disk, whatever the locale, because links to them are.

Standard library only, and the first thing that a command does.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TextIO

#: How to write what an encoding lacks, for `codecs`.
ERRORS = "pypimirror.readable"

#: Signs that our own messages use beside ASCII.
_PLAIN = {"…": "...", "→": "->", "·": "-", "“": '"', "”": '"'}

#: Where the interpreter that is started anew finds the terminal's encoding: `-X terminal=…`.
_TERMINAL = "terminal"


def prepare() -> None:
    """Make streams and locale fit for work; may start this program anew, in UTF-8."""
    _open_all()
    _speak_utf8()
    codecs.register_error(ERRORS, _readable)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = _kept(1, sys.stdout)
    sys.stderr = _kept(2, sys.stderr)


def lost(stream: TextIO) -> OSError | None:
    """Return why some of what was written to a prepared stream is lost; None: nothing is."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    if not isinstance(raw, _Kept):
        return None
    stream.flush()
    return raw.lost


class _Kept(io.RawIOBase):
    """Writes to a descriptor; what cannot be written is lost, and noted."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.lost: OSError | None = None

    def write(self, data: bytes | memoryview, /) -> int:  # type: ignore[override]
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # whoever reads it shares a descriptor that must not wait
                import select

                select.select((), (self._descriptor,), ())
            except OSError as error:
                self.lost = self.lost or error
                return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)


def _open_all() -> None:
    """Open what is closed of the descriptors 0 to 2, onto nothing."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest that is free, and so this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _speak_utf8() -> None:
    """Start this program anew where Python would write names of files in another encoding."""
    if sys.flags.utf8_mode or sys.getfilesystemencoding().lower().replace("-", "") == "utf8":
        return
    os.environ["PYTHONUTF8"] = "1"  # for children
    encoding = next((s.encoding for s in (sys.stdout, sys.stderr) if s is not None), "ascii")
    options = ("-X", "utf8", "-X", f"{_TERMINAL}={encoding}")
    os.execv(sys.executable, [sys.executable, *options, *sys.orig_argv[1:]])  # noqa: S606


def _kept(descriptor: int, stream: TextIO | None) -> TextIO:
    """Return a stream like `stream`, on the same descriptor, that keeps the rules above."""
    if stream is not None:
        stream.flush()
    encoding = sys._xoptions.get(_TERMINAL) or (stream.encoding if stream else "utf-8")
    by_line = descriptor == 2 or os.isatty(descriptor) or bool(os.environ.get("PYTHONUNBUFFERED"))
    return io.TextIOWrapper(
        io.BufferedWriter(_Kept(descriptor)),  # type: ignore[type-var]
        encoding=str(encoding),
        errors=ERRORS,
        line_buffering=by_line,
    )


def _readable(error: UnicodeError) -> tuple[str, int]:
    """Write what an encoding lacks in signs that every encoding has."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    written = (_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking)
    return "".join(written), error.end
