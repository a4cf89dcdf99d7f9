"""The contents of wheel, sdist and editable install.

They are built with the backend of pyproject.toml, which is a test dependency, so no test fetches
it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "pypimirror/_project/"


def build(source: Path, target: Path, what: str) -> Path:
    """Build a distribution of a source tree; return its path."""
    code = f"import sys; from hatchling.build import {what}; print({what}(sys.argv[1]))"
    target.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", code, target],
        cwd=source,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "SOURCE_DATE_EPOCH": "1700000000"},
    )
    assert done.returncode == 0, done.stderr
    return target / done.stdout.splitlines()[-1]


def names(wheel: Path) -> list[str]:
    return zipfile.ZipFile(wheel).namelist()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "build_wheel")


def test_nothing_else_is_installed_top_level(wheel: Path) -> None:
    top = {name.partition("/")[0] for name in names(wheel)}
    assert {name for name in top if not name.endswith(".dist-info")} == {"pypimirror"}


def test_the_wheel_carries_the_whole_project_directory(wheel: Path) -> None:
    expected = {"prefect.yaml"} | {
        path.relative_to(ROOT).as_posix()
        for part in ("flows", "tasks", "migrations")
        for path in (ROOT / part).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    found = {name.removeprefix(PROJECT) for name in names(wheel) if name.startswith(PROJECT)}
    assert found == expected
    assert "flows/sync.py" in found


def test_an_editable_install_has_no_copy_of_it(tmp_path: Path) -> None:
    editable = names(build(ROOT, tmp_path, "build_editable"))
    assert [name for name in editable if ".dist-info/" not in name and "/" in name] == []


def test_the_sdist_builds_the_same_wheel(tmp_path: Path, wheel: Path) -> None:
    sdist = build(ROOT, tmp_path / "sdist", "build_sdist")
    with tarfile.open(sdist) as archive:
        # Python 3.11 has the filter from 3.11.4 on.
        how: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(tmp_path / "source", **how)
    (source,) = (tmp_path / "source").iterdir()
    again = build(source, tmp_path / "again", "build_wheel")
    assert again.name == wheel.name
    first, second = zipfile.ZipFile(wheel), zipfile.ZipFile(again)
    assert sorted(names(wheel)) == sorted(names(again))
    assert all(first.read(name) == second.read(name) for name in names(wheel))
