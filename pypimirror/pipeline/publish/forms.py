"""The forms of pages: all known forms, the configured ones, and those on disk."""

from __future__ import annotations

from pypimirror.catalog.database import Connection
from pypimirror.catalog.marks import FORMATS
from pypimirror.catalog.queries import marks
from pypimirror.pipeline.run import Run

#: All forms that pages may have.
ALL = ("html", "json", "legacy")


def is_another_form(run: Run, connection: Connection) -> bool:
    """Whether the configuration asks for other forms of pages than those that were written."""
    return marks.read(connection, FORMATS) not in (None, forms_of(run))


def forms_of(run: Run) -> str:
    """Return a text that identifies the forms of pages that the configuration asks for."""
    publish = run.config.publish
    attested = "with" if publish.provenance else "without"
    forms = ",".join(sorted(publish.formats))
    return f"{forms} {attested} provenance {publish.base_url}".strip()
