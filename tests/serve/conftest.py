"""A small mirror root, and clients for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from werkzeug.test import Client

from pypimirror.serve.app import create_app
from tests.serve.tree import add_project, add_root_index, wheel


@pytest.fixture
def root(tmp_path: Path) -> Path:
    directory = tmp_path / "mirror"
    add_project(directory, "six", wheel("six", "1.16.0"))
    add_project(directory, "foo-bar", wheel("foo-bar", "1.0", requires=["six"]))
    add_root_index(directory, "foo-bar", "six")
    return directory


@pytest.fixture
def client(root: Path) -> Client:
    return Client(create_app(root))
