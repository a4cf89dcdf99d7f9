"""The output of commands: results go to standard output, all else to standard error.

Rich is slow to import and most runs print little, so the first print imports it. Rich gets its own
console object and no wrapper: it looks methods up on the type, where a wrapper has none.
"""

from __future__ import annotations

import functools
import json
import logging
import re
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from pypimirror.cli.display.hints import typed

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: The width without a terminal: a program gets lines that are neither cut nor wrapped.
UNBOUNDED = 1 << 20


#: Characters that control a terminal or turn the direction of a line. Text from an upstream, or
#: from a disk that others write to, may contain them.
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Return `text` with control characters escaped; newlines and tabs stay."""
    return _COMMANDS.sub(lambda found: ascii(found[0])[1:-1], text)


class Output:
    """Standard output or standard error. The first print imports Rich."""

    def __init__(self, *, stderr: bool = False) -> None:
        self._stderr = stderr

    @functools.cached_property
    def console(self) -> Console:
        """Rich's console, for bars and logs."""
        from rich.console import Console

        return Console(highlight=False, soft_wrap=True, stderr=self._stderr)

    @property
    def is_terminal(self) -> bool:
        """Whether the stream is a terminal."""
        stream = sys.stderr if self._stderr else sys.stdout
        return stream.isatty()

    @property
    def width(self) -> int:
        """The width in columns."""
        return self.console.width if self.is_terminal else UNBOUNDED

    def print(
        self, *parts: RenderableType, style: str | None = None, markup: bool = True, end: str = "\n"
    ) -> None:
        """Print a line; with `markup`, Rich's tags in it set styles.

        Quoted commands become ones that work here (`hints.typed`). Control characters in strings
        are escaped. Parts that are no strings come from `pypimirror.cli.display.table`, which
        escapes them itself.
        """
        told = [typed(visible(part)) if isinstance(part, str) else part for part in parts]
        self.console.print(*told, style=style, markup=markup, end=end)


#: For results.
out = Output()
#: For logs, progress and errors.
err = Output(stderr=True)


def escape(text: str) -> str:
    """Return `text` with Rich's markup escaped."""
    from rich.markup import escape

    return escape(text)


class _Visible(logging.Formatter):
    """Escapes control characters, as `Output` does."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def set_up_logging(verbose: int, quiet: bool) -> None:
    """Send the program's log to standard error; `verbose` counts the `-v`."""
    level = logging.ERROR if quiet else max(logging.DEBUG, logging.WARNING - 10 * verbose)
    handler: logging.Handler = logging.StreamHandler()
    form = "%(levelname)-8s %(message)s"
    if err.is_terminal:
        from rich.logging import RichHandler

        handler = RichHandler(console=err.console, show_path=False, show_time=False, markup=False)
        form = "%(message)s"
    handler.setFormatter(_Visible(form))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("pypimirror").setLevel(level)


def print_json(document: Any) -> None:
    """Print a JSON document on standard output, indented."""
    sys.stdout.write(as_json(document) + "\n")
    sys.stdout.flush()


def as_json(document: Any, indent: int = 2) -> str:
    """Return a document as JSON that standard output can encode; `indent=0` gives one line.

    JSON is UTF-8. If the locale is another, or a path is not valid text, escapes say the same.
    """
    try:
        data = msgspec.json.encode(document)
        text = (msgspec.json.format(data, indent=indent) if indent else data).decode()
    except UnicodeEncodeError:  # a path with bytes that are not UTF-8
        return json.dumps(document, indent=indent or None)
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("_", "-")
    if encoding in ("utf-8", "utf8") or text.isascii():
        return text
    return json.dumps(json.loads(text), indent=indent or None)
