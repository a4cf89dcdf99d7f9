"""Regular expressions and globs of the configuration, held against what upstreams write.

An expression that repeats what repeats, as `/(a+)+$/`, takes longer than anybody lives for a name
that somebody has made for it, and names come from the upstream. So there is a bound of time, far
beyond any honest match, and the message names expression and text. `re` has none, `regex` has, and
sees through many such expressions besides. Globs cannot go wrong like this: `fnmatch` writes them
so that nothing goes back.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from fnmatch import translate
from functools import cached_property
from typing import Any

from pypimirror.domain.errors import ConfigError
from pypimirror.domain.filenames import printable

#: Seconds that one match may take. An honest one takes microseconds, and never looks at a clock.
SECONDS = 2.0


class EntryError(ConfigError):
    """An entry that cannot be read; the message says which, and what is right."""


@dataclass(frozen=True)
class Pattern:
    """What finds something in a text, or does not."""

    text: str  #: in the form of `re`
    shown: str = ""  #: as it is in the configuration
    source: str = ""
    is_glob: bool = False

    def search(self, text: str) -> bool:
        """Whether it is found anywhere in `text`; raises `EntryError` where that takes too long."""
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
    """The module, which is imported only where an expression is configured."""
    import regex  # type: ignore[import-untyped]

    return regex


def expression(text: str, source: str) -> Pattern:
    """Read `/…/`, which matches anywhere; raises `EntryError`."""
    if len(text) < 3 or not text.endswith("/"):
        raise EntryError(f"{source}: {text!r}: a regular expression stands between two slashes")
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
