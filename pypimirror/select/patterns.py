"""Regular expressions and globs of the configuration, matched with text from upstreams.

An expression with nested repeats, such as `/(a+)+$/`, takes nearly forever for a hostile name, and
names come from the upstream. So a match has a time limit, far beyond any normal match, and the
message names expression and text. `re` has no time limit; `regex` has one, and is fast for many
such expressions. Globs are safe: `fnmatch` translates them into expressions without backtracking.
"""

from __future__ import annotations

import re
import warnings
from fnmatch import translate
from functools import cached_property
from typing import Any

from msgspec import Struct

from pypimirror.domain.errors import ConfigError
from pypimirror.domain.filenames import printable

#: Seconds that one match may take. A normal one takes microseconds.
SECONDS = 2.0


class EntryError(ConfigError):
    """An entry cannot be read; the message says which one, and what is valid."""


class Pattern(Struct, frozen=True, dict=True):
    """A pattern that can be searched in a text."""

    text: str  #: in the form of `re`
    shown: str = ""  #: as in the configuration
    source: str = ""
    is_glob: bool = False

    def search(self, text: str) -> bool:
        """Whether the pattern matches anywhere in `text`; raises `EntryError` after too long."""
        if self.is_glob:
            return self._compiled.search(text) is not None
        try:
            return self._compiled.search(text, timeout=SECONDS) is not None
        except TimeoutError:
            raise EntryError(
                f"{self.source}: {self.shown!r} takes more than {SECONDS:.0f} seconds on "
                f"{printable(text, 80)!r}: write it without repeating what repeats already, as "
                "in '(a+)+'"
            ) from None

    @cached_property
    def _compiled(self) -> Any:
        if self.is_glob:
            return re.compile(self.text)
        with warnings.catch_warnings(action="ignore"):
            return _regex().compile(self.text)


def _regex() -> Any:
    """Import the module `regex`, only if an expression is configured."""
    import regex  # type: ignore[import-untyped]

    return regex


def expression(text: str, source: str) -> Pattern:
    """Read `/…/`, which matches anywhere; raises `EntryError`."""
    if len(text) < 3 or not text.endswith("/"):
        raise EntryError(f"{source}: {text!r}: a regular expression must be between two slashes")
    inner = text[1:-1]
    found = Pattern(inner, text, source)
    try:
        with warnings.catch_warnings(action="ignore"):
            re.compile(inner)
        found.search("")
    except (re.error, _regex().error, RecursionError, OverflowError) as error:
        raise EntryError(f"{source}: {text!r} is no regular expression: {error}") from error
    return found


def glob(text: str) -> Pattern:
    """Read a glob, which matches as a whole."""
    return Pattern(rf"\A{translate(text)}", text, is_glob=True)


def pattern(text: str, source: str) -> Pattern:
    """Read a glob or a regular expression; raises `EntryError`."""
    return expression(text, source) if text.startswith("/") else glob(text)
