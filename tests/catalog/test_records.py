"""Records and tables are one mapping, and whoever asks the catalog gets records."""

from __future__ import annotations

import pytest
from sqlalchemy import ForeignKey, MetaData, UniqueConstraint

from pypimirror.catalog import records, schema
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.mapping import columns
from pypimirror.catalog.mapping.mapper import Record
from pypimirror.catalog.queries import files, projects
from pypimirror.catalog.records import FileRecord, ProjectFile
from pypimirror.catalog.states import State


class _Example(Record, frozen=True):
    """A record with a column of each kind."""

    id: records.Id
    owner: records.OfProject
    name: records.Unique
    text: str
    number: int | None
    small: records.Small | None
    when: float
    raw: bytes | None
    flag: bool | None


def test_a_table_says_what_its_record_says() -> None:
    table = columns.table("examples", MetaData(), _Example, UniqueConstraint("text", "number"))
    found = {c.name: (type(c.type).__name__, c.nullable, c.primary_key) for c in table.columns}
    assert found == {
        "id": ("BigInteger", False, True),
        "owner": ("BigInteger", False, False),
        "name": ("Text", False, False),
        "text": ("Text", False, False),
        "number": ("BigInteger", True, False),
        "small": ("SmallInteger", True, False),
        "when": ("Float", False, False),
        "raw": ("LargeBinary", True, False),
        "flag": ("Flag", True, False),
    }
    assert table.c.name.unique and table.c.owner.foreign_keys
    (key,) = table.c.owner.foreign_keys
    assert isinstance(key, ForeignKey) and key.target_fullname == "projects.id"


@pytest.mark.parametrize("name", sorted(schema.metadata.tables))
def test_each_table_is_a_record(name: str) -> None:
    """By the name of the class too, so that each is found by the other."""
    table = schema.metadata.tables[name]
    single = f"{name[:-3]}y" if name.endswith("ies") else name.removesuffix("s")
    record = records.TABLES[name]
    assert record.__name__ == f"{single[0].upper()}{single[1:]}Record"
    assert tuple(map(str, table.columns.keys())) == record.__struct_fields__


def test_a_query_reads_a_record_by_the_names_of_its_fields(catalog: Catalog) -> None:
    with catalog.write() as connection:
        projects.ensure(connection, [projects.ProjectName("six")])
        (project,) = projects.by_name(connection, ["six"])
        row = {"project_id": project.id, "filename": "six-1.zip", "url": "http://host/six-1.zip"}
        files.add(connection, [row], run_id=7)
        (file,) = files.of_projects(connection, [project.id])
        (same,) = files.in_states(connection, [project.id], [State.WANTED])
    assert isinstance(file, FileRecord) and isinstance(same, ProjectFile)
    assert (file.filename, file.url, file.run_id) == ("six-1.zip", "http://host/six-1.zip", 7)
    assert (same.project, same.upstream) == ("six", None)
    shared = FileRecord.__struct_fields__
    assert [getattr(file, n) for n in shared] == [getattr(same, n) for n in shared]
