"""How a command's output goes out: results to standard output, all else to standard error.

Rich is slow to import, and most runs print little, so it is imported when something is printed.
What Rich is given is its own console and nothing that merely behaves like one: it looks methods up
on the type, and so sees through whatever forwards them.
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

#: Columns where there is no terminal: nothing is cut, or put on another line, for a program.
UNBOUNDED = 1 << 20


#: Signs that a terminal obeys and does not show, or that turn the direction of a line. What comes
#: from an upstream, or from a disk that others write to, may hold any.
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Return `text` with escapes in place of what a terminal obeys; lines and tabs stay."""
    return _COMMANDS.sub(lambda found: ascii(found[0])[1:-1], text)


class Output:
    """One of the two streams, with Rich behind it once something is printed."""

    def __init__(self, *, stderr: bool = False) -> None:
        self._stderr = stderr

    @functools.cached_property
    def console(self) -> Console:
        """The console itself, for what Rich draws."""
        from rich.console import Console

        return Console(highlight=False, soft_wrap=True, stderr=self._stderr)

    @property
    def is_terminal(self) -> bool:
        """Whether a person sees it."""
        stream = sys.stderr if self._stderr else sys.stdout
        return stream.isatty()

    @property
    def width(self) -> int:
        """The columns that there are."""
        return self.console.width if self.is_terminal else UNBOUNDED

    def print(
        self, *parts: RenderableType, style: str | None = None, markup: bool = True, end: str = "\n"
    ) -> None:
        """Print a line; with `markup`, Rich's tags in it are styles.

        Commands that it names are told as they can be typed here. What terminals obey in a text is
        shown and not sent; what is no text comes from `pypimirror.cli.display.table`, which does
        the same.
        """
        told = [typed(visible(part)) if isinstance(part, str) else part for part in parts]
        self.console.print(*told, style=style, markup=markup, end=end)


#: For results.
out = Output()
#: For logs, progress and errors.
err = Output(stderr=True)


def escape(text: str) -> str:
    """Return `text` so that a console prints it as it is."""
    from rich.markup import escape

    return escape(text)


class _Visible(logging.Formatter):
    """Shows what terminals obey, as `Output` does."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def set_up_logging(verbose: int, quiet: bool) -> None:
    """Send the program's log to standard error."""
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
    """Print a JSON document on standard output, for people as well as programs."""
    sys.stdout.write(as_json(document) + "\n")
    sys.stdout.flush()


def as_json(document: Any, indent: int = 2) -> str:
    """Return a document as JSON that standard output can hold; without `indent`, in one line.

    JSON is UTF-8. Where the locale is another, or a path is no text at all, escapes say the same.
    """
    try:
        data = msgspec.json.encode(document)
        text = (msgspec.json.format(data, indent=indent) if indent else data).decode()
    except UnicodeEncodeError:  # bytes of a path that are no UTF-8
        return json.dumps(document, indent=indent or None)
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("_", "-")
    if encoding in ("utf-8", "utf8") or text.isascii():
        return text
    return json.dumps(json.loads(text), indent=indent or None)
