"""The Prefect project directory is found, and is complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypimirror.catalog.database import SCHEMA_REVISION
from pypimirror.system import project

PARTS = ("flows/sync.py", "tasks/discover.py", "migrations/env.py", "prefect.yaml")


def test_the_checkout_is_a_project_directory() -> None:
    found = project.project_directory()
    assert found == Path(__file__).resolve().parent.parent
    assert [part for part in PARTS if not (found / part).is_file()] == []


def test_a_shipped_copy_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "pypimirror" / "_project"
    shipped.mkdir(parents=True)
    monkeypatch.setattr(project, "__file__", str(tmp_path / "pypimirror" / "system" / "project.py"))
    assert project.project_directory() == shipped


def test_the_newest_migration_is_the_one_that_the_program_expects() -> None:
    versions = (project.project_directory() / "migrations/versions").glob("*.py")
    assert max(path.name for path in versions).startswith(SCHEMA_REVISION)
