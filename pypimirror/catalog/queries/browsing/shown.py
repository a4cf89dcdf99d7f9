"""The files of a project as its page for people shows them."""

from __future__ import annotations

from sqlalchemy import Connection

from pypimirror.catalog.mapping import mapper
from pypimirror.catalog.mapping.mapper import Record
from pypimirror.catalog.schema import files


class ShownFile(Record, frozen=True):
    """The columns of `FileRecord` that people see. Pages read them for each file of a project."""

    filename: str
    location: str | None
    state: int
    size: int | None
    sha256: bytes | None
    proof: int | None
    proof_algorithm: str | None
    proof_source: str | None
    proven_at: float | None
    metadata_sha256: bytes | None
    upload_time: str | None
    requires_python: str | None
    yanked: str | None
    provenance_sha256: bytes | None
    removal_cause: str | None
    kept: float | None
    linked: bool | None
    last_error: str | None


def of_project(connection: Connection, project: int) -> list[ShownFile]:
    """Return all files of the project with this id, by name."""
    query = mapper.select_record(ShownFile, files).where(files.c.project_id == project)
    rows = connection.execute(query.order_by(files.c.filename)).all()  # faster than one by one
    return [ShownFile(*row) for row in rows]
