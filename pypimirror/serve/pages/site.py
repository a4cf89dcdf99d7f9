"""Everything that pages share: configuration, catalog, tree, templates, and forms of values."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from pypimirror.catalog.database import (
    Catalog,
    CatalogError,
    Connection,
    sqlite_file,
)
from pypimirror.catalog.engines import errors
from pypimirror.catalog.marks import RESOLVED
from pypimirror.catalog.queries import marks
from pypimirror.config.settings import Config
from pypimirror.domain import moments
from pypimirror.domain.durations import took
from pypimirror.domain.sizes import amount, number_of, percent
from pypimirror.select.selection import Selection, policy
from pypimirror.serve.files import Directory
from pypimirror.serve.pages.about import Descriptions
from pypimirror.serve.pages.messages import PageResponse
from pypimirror.serve.pages.visit import HTML, Made, Visit
from pypimirror.serve.tree import AwayError, Tree

#: The files of the folder `static`. Templates have their addresses as `style`, `pages` and `icon`.
STATIC = ("style.css", "pages.js", "icon.svg")


class CatalogAwayError(Exception):
    """The catalog does not answer. The message is for the log: it may contain a path."""


@dataclass(frozen=True)
class More:
    """What a page with a message offers besides."""

    link: str = ""  #: an address, relative to the mirror's root
    words: str = ""  #: of the link
    command: str = ""  #: to install


class CatalogReader:
    """Reads the catalog at `url`. It is opened when it is first needed, and again if another file
    replaces it.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._file = sqlite_file(url)
        self._catalog: Catalog | None = None
        self._opened: tuple[int, int] | None = None  #: device and inode

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection for reading. Raises `CatalogAwayError`."""
        try:
            found = self._identity()
            if self._catalog is not None and found != self._opened:
                self.close()
            if self._catalog is None:
                self._opened = found
                self._catalog = Catalog.open_for_reading(self._url)
            with self._catalog.read() as connection:
                yield connection
        except (errors.SQLAlchemyError, CatalogError, OSError) as error:
            self.close()
            raise CatalogAwayError(str(error)) from error

    def _identity(self) -> tuple[int, int] | None:
        """Return the identity of the catalog's file; None if the catalog is no file."""
        if self._file is None:
            return None
        try:
            found = self._file.stat()
        except FileNotFoundError:
            self.close()  # moved away
            raise CatalogAwayError("there is no catalog; `pypimirror sync` makes one") from None
        return found.st_dev, found.st_ino

    def rest(self) -> None:
        """Close the file of the catalog, because nobody looks at pages now."""
        if self._file is not None:
            self.close()

    def close(self) -> None:
        """Close the catalog."""
        catalog, self._catalog = self._catalog, None
        if catalog is not None:
            catalog.close()


class Site:
    """The pages of one mirror. `file` is its configuration file."""

    def __init__(self, config: Config, file: Path) -> None:
        self.config = config
        self.reader = CatalogReader(config.catalog_url)
        self._selection: Selection | None = None
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
            "number_of": number_of,
            "number": number,
            "ago": ago,
            "span": span,
            "day": day,
            "minute": minute,
            "segment": segment,
            "took": took,
            "percent": percent,
        }
        for name in STATIC:
            self._environment.globals[name.partition(".")[0]] = self.static_name(name)

    def selection(self, connection: Connection) -> Selection:
        """Return the selection with the last resolution. Raises `ConfigError` or `CatalogError`."""
        texts = None
        if self.config.select.dependencies == "resolved":
            try:
                texts = marks.read(connection, RESOLVED)
            except marks.BadMarkError as error:
                raise CatalogError(str(error)) from error
        if self._selection is None or texts != self._selection.resolved:
            self._selection = Selection(self.config, texts)
        return self._selection

    @cached_property
    def policy(self) -> Selection:
        """The selection that says what clients may ask for. Raises `ConfigError`."""
        return policy(self.config)

    @cached_property
    def tree(self) -> Tree:
        """The mirror root or bucket. Its methods raise `AwayError`."""
        if self.config.bucket is None:
            return Directory(self.config.directory)
        from pypimirror.serve import bucket  # its libraries are slow to load

        return bucket.open_tree(self._file)

    @cached_property
    def descriptions(self) -> Descriptions:
        """The descriptions of projects."""
        return Descriptions(self.tree)

    def now(self) -> float:
        """The time in seconds since the epoch."""
        return time.time()

    def page(self, visit: Visit, template: str, *, status: int = 200, **values: Any) -> Made:
        """Return a page."""
        text = self.text(visit, template, **values)
        return Made(PageResponse(status, HTML), text.encode(errors="replace"))

    def text(self, visit: Visit, template: str, **values: Any) -> str:
        """Return the text of a template, with values escaped."""
        found = self._environment.get_template(template)
        return found.render(up=visit.up, visit=visit, now=self.now(), **values)

    def message(
        self, visit: Visit, status: int, text: str, title: str = "", more: More | None = None
    ) -> Made:
        """Return a page with only a message."""
        said = {"title": title, "text": text, "more": more or More()}
        return self.page(visit, "message.html", status=status, **said)

    def missing(
        self,
        visit: Visit,
        text: str = "There is no such page on this mirror.",
        more: More | None = None,
    ) -> Made:
        """Return the answer for a page that does not exist."""
        return self.message(visit, 404, text, "Not here", more)

    def is_new(self) -> bool:
        """Whether the mirror root has no list of projects, because no sync has written one yet."""
        try:
            return not self.tree.names_present("simple", names=("index.html", "index.v1_json"))
        except (AwayError, OSError):
            return False

    def away(self, visit: Visit) -> Made:
        """Return the answer while the catalog cannot be reached."""
        if self.is_new():
            return self.message(visit, 503, "No sync of this mirror has begun yet.", "Nothing here")
        text = (
            "The catalog of this mirror cannot be read, so this page cannot be shown. Installing "
            "is not affected: /simple/ still works."
        )
        return self.message(visit, 503, text, "The catalog cannot be read")

    def static(self, name: str) -> bytes | None:
        """Return a file of the folder `static`."""
        if name not in STATIC:
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
