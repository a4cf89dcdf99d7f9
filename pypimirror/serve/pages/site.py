"""What all pages share: configuration, catalog, tree, templates, and how values are shown."""

from __future__ import annotations

import hashlib
import time
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from pypimirror.config.settings import Config
from pypimirror.domain import moments
from pypimirror.domain.durations import took
from pypimirror.domain.sizes import amount, percent
from pypimirror.serve.files import Directory
from pypimirror.serve.pages.away import Reader
from pypimirror.serve.pages.messages import Answer
from pypimirror.serve.pages.visit import HTML, Made, Visit
from pypimirror.serve.tree import Tree


class Site:
    """The pages of one mirror. `file` is its configuration file."""

    def __init__(self, config: Config, file: Path) -> None:
        self.config = config
        self.reader = Reader(config.catalog_url)
        self._file = file
        self._static = PackageLoader("pypimirror.serve.pages", "static")
        self._environment = Environment(
            loader=PackageLoader("pypimirror.serve.pages"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {
            "amount": amount,
            "number": number,
            "ago": ago,
            "span": span,
            "day": day,
            "minute": minute,
            "segment": segment,
            "took": took,
            "percent": percent,
        }
        self._environment.globals["style"] = self.static_name("style.css")
        self._environment.globals["script"] = self.static_name("pages.js")

    @cached_property
    def tree(self) -> Tree:
        """The mirror root or bucket. Its methods raise `AwayError`."""
        if self.config.bucket is None:
            return Directory(self.config.directory)
        from pypimirror.serve import bucket  # its libraries are slow to load

        return bucket.open_tree(self._file)

    def now(self) -> float:
        """The time in seconds since the epoch."""
        return time.time()

    def page(self, visit: Visit, template: str, *, status: int = 200, **values: Any) -> Made:
        """Return a page."""
        text = self._environment.get_template(template).render(
            up=visit.up, visit=visit, now=self.now(), **values
        )
        return Made(Answer(status, HTML), text.encode(errors="replace"))

    def message(self, visit: Visit, status: int, text: str, title: str = "") -> Made:
        """Return a page that only says something."""
        return self.page(visit, "message.html", status=status, title=title, text=text)

    def missing(self, visit: Visit, text: str = "There is no such page on this mirror.") -> Made:
        """Return the answer for something that is not here."""
        return self.message(visit, 404, text, "Not here")

    def away(self, visit: Visit) -> Made:
        """Return the answer while the catalog is away."""
        text = (
            "The catalog of this mirror is away, so this page cannot be shown now. Installing is "
            "not affected: /simple/ is served as ever."
        )
        return self.message(visit, 503, text, "The catalog is away")

    def static(self, name: str) -> bytes | None:
        """Return a file of the folder `static`."""
        if name not in ("style.css", "pages.js"):
            return None
        source, _, _ = self._static.get_source(self._environment, name)
        return source.encode()

    def static_name(self, name: str) -> str:
        """Return the address of a static file, which changes with its content."""
        stem, dot, end = name.rpartition(".")
        digest = hashlib.sha256(self.static(name) or b"").hexdigest()[:12]
        return f"static/{stem}-{digest}{dot}{end}"


def number(value: int) -> str:
    """Return a number with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")


def span(seconds: float) -> str:
    """Return a duration in words, such as "3 hours"."""
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * size or (seconds >= size and unit != "day"):
            count = int(seconds // size)
            return f"{count} {unit}{'s' * (count != 1)}"
    return "less than a minute"


def ago(seconds: float | None, now: float) -> str:
    """Return how long ago a time was, in words."""
    return "never" if seconds is None else f"{span(max(0.0, now - seconds))} ago"


def day(seconds: float | None) -> str:
    """Return the date of a time, in UTC."""
    return "" if seconds is None else f"{moments.dated(seconds):%Y-%m-%d}"


def minute(seconds: float | None) -> str:
    """Return a time to the minute, in UTC."""
    return "" if seconds is None else f"{moments.dated(seconds):%Y-%m-%d %H:%M} UTC"


def segment(text: str) -> str:
    """Quote a text for one segment of an address."""
    return quote(text, safe="")
