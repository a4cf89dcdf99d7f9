"""A small index on disk, and a uv that can be asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from pypimirror.resolve import uv
from pypimirror.resolve.uv import Indexes, Uv
from tests.corpus.build import make_wheel


class Shelf:
    """Pages and files in a directory, as a mirror root has them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.index = Indexes(f"{root.as_uri()}/simple/")

    def put(self, project: str, filename: str, content: bytes) -> None:
        """Add a file and a link to it."""
        for folder in (self.root / "packages", self.root / "simple" / project):
            folder.mkdir(parents=True, exist_ok=True)
        (self.root / "packages" / filename).write_bytes(content)
        with (self.root / "simple" / project / "index.html").open("a") as page:
            digest = hashlib.sha256(content).hexdigest()
            page.write(f'<a href="../../packages/{filename}#sha256={digest}">{filename}</a>\n')

    def wheel(self, project: str, version: str, *, requires: Sequence[str] = ()) -> None:
        """Add a wheel."""
        self.put(project, *make_wheel(project, version, requires=list(requires)))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """An empty index."""
    return Shelf(tmp_path / "index")


@pytest.fixture(scope="session")
def resolver() -> Uv:
    """The uv that is installed beside the tests."""
    return uv.find()
