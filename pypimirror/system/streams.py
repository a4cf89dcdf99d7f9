"""Make the standard streams and the locale of a process usable.

The caller of a program may have closed a stream, connected it to a full disk or to a reader that
disappears, or chosen a locale whose encoding lacks most letters. None of this may disturb the work:

- All three descriptors are open. Otherwise a file that is opened later could become the standard
  output of a child.
- Output that cannot be written is lost and never stops the work. `lost` reports it to the code that
  chooses the exit code.
- Every text can be written. Characters that the encoding lacks are replaced by others.
- File names are UTF-8 on disk, whatever the locale, because links to them are.

This module uses only the standard library. A command calls it first.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TextIO

#: The name of our error handler for `codecs`: it replaces characters that an encoding lacks.
ERRORS = "pypimirror.readable"

#: Characters of our own messages that are not ASCII, and their replacements.
_PLAIN = {"…": "...", "→": "->", "·": "-", "“": '"', "”": '"'}

#: The option that passes the terminal's encoding to the restarted interpreter: `-X terminal=…`.
_TERMINAL = "terminal"


def prepare() -> None:
    """Make streams and locale usable. This may restart the program in UTF-8 mode."""
    _open_all()
    _speak_utf8()
    codecs.register_error(ERRORS, _readable)
    sys.stdin = sys.stdin or open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = _kept(1, sys.stdout)
    sys.stderr = _kept(2, sys.stderr)


def lost(stream: TextIO) -> OSError | None:
    """Return why output of a prepared stream was lost; None if all was written."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    if not isinstance(raw, _Kept):
        return None
    stream.flush()
    return raw.lost


class _Kept(io.RawIOBase):
    """Writes to a descriptor. Output that cannot be written is lost, and the error is stored."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.lost: OSError | None = None

    def write(self, data: bytes | memoryview, /) -> int:  # type: ignore[override]
        while True:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # the reader has set the shared descriptor to non-blocking
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
    """Open each closed descriptor from 0 to 2 on /dev/null."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # open() returns the lowest free descriptor, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _speak_utf8() -> None:
    """Restart this program if Python would not use UTF-8 for file names."""
    if sys.flags.utf8_mode or sys.getfilesystemencoding().lower().replace("-", "") == "utf8":
        return
    os.environ["PYTHONUTF8"] = "1"  # for children
    encoding = next((s.encoding for s in (sys.stdout, sys.stderr) if s is not None), "ascii")
    options = ("-X", "utf8", "-X", f"{_TERMINAL}={encoding}")
    os.execv(sys.executable, [sys.executable, *options, *sys.orig_argv[1:]])  # noqa: S606


def _kept(descriptor: int, stream: TextIO | None) -> TextIO:
    """Return a stream on the same descriptor as `stream` that keeps the rules above."""
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
    """Replace characters that an encoding lacks by ASCII characters."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    written = (_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking)
    return "".join(written), error.end
