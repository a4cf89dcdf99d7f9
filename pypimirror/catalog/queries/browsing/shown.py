"""A project and its files as the page for people shows them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from pypimirror.catalog.mapping import mapper, prepared, sql, tables
from pypimirror.catalog.mapping.connection import Connection
from pypimirror.catalog.mapping.mapper import Record
from pypimirror.catalog.mapping.prepared import among, statement


class ShownProject(Record, frozen=True):
    """The columns of `ProjectRecord` that people see, and what they are found by."""

    id: int
    name: str
    upstream: str | None
    status: str | None
    status_reason: str | None
    removal_cause: str | None
    checked_at: float | None
    page_on_disk: bool


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


def project(connection: Connection, name: str) -> ShownProject | None:
    """Return the project with this name."""
    return mapper.read_first(connection, _project(), ShownProject, {"name": name})


@statement
def _project() -> sql.Select[Any]:
    projects = tables.projects
    is_it = projects.c.name == sql.bindparam("name")
    return mapper.select_record(ShownProject, projects).where(is_it)


def held(connection: Connection, names: Collection[str]) -> set[str]:
    """Return which of these names are projects with a page here."""
    return {row[0] for row in prepared.rows(connection, _held(), {"names": names})}


@statement
def _held() -> sql.Select[Any]:
    projects = tables.projects
    has_page = projects.c.page_on_disk.is_(True)
    return sql.select(projects.c.name).where(among(projects.c.name, "names"), has_page)


def of_project(connection: Connection, project: int) -> list[ShownFile]:
    """Return all files of the project with this id, by name."""
    return mapper.read_all(connection, _of_project(), ShownFile, {"project": project})


@statement
def _of_project() -> sql.Select[Any]:
    files = tables.files
    query = mapper.select_record(ShownFile, files)
    return query.where(files.c.project_id == sql.bindparam("project")).order_by(files.c.filename)
