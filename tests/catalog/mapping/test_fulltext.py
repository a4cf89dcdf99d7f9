"""The index of words of SQLite."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.mapping import fulltext
from pypimirror.catalog.queries import projects
from pypimirror.domain.model import ProjectName

SUMMARIES = text(
    "INSERT INTO summaries(project_id, name, summary) "
    "SELECT id, name, 'word' || id || ' and ' || (id * 7 % 9973) FROM projects WHERE id > :above"
)
CHANGE = text("UPDATE summaries SET summary = 'changed ' || :step WHERE project_id = :step")


def fill(catalog: Catalog) -> None:
    """Write 600 summaries in 30 transactions."""
    for first in range(0, 600, 20):
        with catalog.write() as connection:
            names = [ProjectName(f"project-{n}") for n in range(first, first + 20)]
            projects.ensure(connection, names)
            connection.execute(SUMMARIES, {"above": first})


def test_merging_ends_although_others_write_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fulltext, "_STEP", 2)
    with closing(Catalog.open(f"sqlite:///{tmp_path / 'catalog'}")) as catalog:
        fill(catalog)
        for step in range(1, 30):
            with catalog.write() as connection:
                more = fulltext.merge(connection, first=step == 1)
            if not more:
                break
            with catalog.write() as connection:
                connection.execute(CHANGE, {"step": step})
    assert not more
    assert step > 2
