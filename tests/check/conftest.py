"""A mirror root made by hand: pages and files as a sync writes them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pypimirror.check import index
from pypimirror.check.outcome import Outcome
from pypimirror.check.resolving import RequirementsChecker
from pypimirror.check.shelf import Shelf
from pypimirror.check.subjects import of_texts
from pypimirror.check.targets import Target
from pypimirror.resolve import uv
from pypimirror.storage.posix import PosixStorage
from pypimirror.storage.workspace import Workspace
from tests.corpus.build import core_metadata, make_wheel, pack_tar_gz
from tests.storages import MemoryStorage

LINUX = Target("3.12", "manylinux_2_28_x86_64")
WINDOWS = Target("3.12", "win_amd64")


class Tree:
    """A mirror root with JSON pages. It is read as a directory, or from memory as from a bucket."""

    def __init__(self, root: Path, *, is_elsewhere: bool = False) -> None:
        self.root = root
        self._is_elsewhere = is_elsewhere
        self._files: dict[str, list[dict[str, Any]]] = {}

    def shelf(self) -> Shelf:
        """What it offers now."""
        workspace = Workspace(self.root)
        if not self._is_elsewhere:
            return Shelf(PosixStorage(workspace))
        storage = MemoryStorage(workspace)
        for path in self.root.rglob("*"):
            if path.is_file():
                storage.write([(str(path.relative_to(self.root)), [path.read_bytes()])])
        return Shelf(storage)

    def put(self, project: str, filename: str, content: bytes, **said: Any) -> str:
        """Add a file and a link to it; its sha256."""
        folder = self.root / "packages" / project
        folder.mkdir(parents=True, exist_ok=True)
        (folder / filename).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        self.link(project, filename, f"../../packages/{project}/{filename}", digest, **said)
        return digest

    def link(self, project: str, filename: str, url: str, digest: str, **said: Any) -> None:
        """Add a link to a page."""
        entry = {"filename": filename, "url": url, "hashes": {"sha256": digest}, **said}
        self._files.setdefault(project, []).append(entry)
        page = {"meta": {"api-version": "1.0"}, "name": project, "files": self._files[project]}
        place = self.root / "simple" / project / "index.v1_json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(page))

    def wheel(
        self,
        project: str,
        version: str,
        *requires: str,
        tag: str = "py3-none-any",
        python: str | None = None,
        **said: Any,
    ) -> str:
        """Add a wheel with its core metadata beside it; its sha256."""
        name, content = make_wheel(
            project, version, tag=tag, requires=requires, requires_python=python
        )
        if python is not None:
            said["requires-python"] = python
        digest = self.put(project, name, content, **said)
        metadata = core_metadata(project, version, requires=requires, requires_python=python)
        (self.root / "packages" / project / f"{name}.metadata").write_bytes(metadata)
        return digest

    def sdist(
        self, project: str, version: str, *requires: str, build: Sequence[str] = (), form: str
    ) -> str:
        """Add an sdist, with core metadata of a version (`form`), which needs `build`."""
        start = f"{project.replace('-', '_')}-{version}"
        metadata = core_metadata(project, version, requires=requires).decode()
        contents = {
            f"{start}/PKG-INFO": metadata.replace("Version: 2.1", f"Version: {form}").encode(),
            f"{start}/pyproject.toml": f"[build-system]\nrequires = {list(build)}\n".encode(),
            f"{start}/setup.py": b"import this_code_must_not_run\n",
        }
        return self.put(project, f"{start}.tar.gz", pack_tar_gz(contents))


@pytest.fixture(params=["directory", "elsewhere"])
def tree(tmp_path: Path, request: pytest.FixtureRequest) -> Tree:
    """An empty mirror root. The answers must be the same wherever it is kept."""
    (tmp_path / "mirror/simple").mkdir(parents=True)
    return Tree(tmp_path / "mirror", is_elsewhere=request.param == "elsewhere")


class Checking:
    """What checks a tree as it is now."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    def __call__(self, *wanted: str, target: Target = LINUX, builds: bool = False) -> Outcome:
        with index.served(self.tree.shelf(), builds=builds) as served:
            return RequirementsChecker(uv.find(), served, builds, asks_pip=False).check(
                of_texts(wanted), target
            )


@pytest.fixture
def checked(tree: Tree) -> Iterator[Checking]:
    """Checks requirements against the tree."""
    yield Checking(tree)
