"""The web server only reads: it needs no right to write, and nothing of `.pypimirror`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.mirror import Mirror, listing, offer
from tests.on_demand.site import serving
from tests.powerless import prefix
from tests.simulator import Simulator


@contextmanager
def only_readable(root: Path) -> Iterator[None]:
    """Let nobody write below a mirror root, nor read its private directory."""
    paths = [root, *root.rglob("*")]
    before = {path: path.stat().st_mode for path in paths}
    for path in reversed(paths):
        path.chmod(0o555 if path.is_dir() else 0o444)
    (root / ".pypimirror").chmod(0)
    try:
        yield
    finally:
        for path, mode in before.items():
            path.chmod(mode)


def can(*command: str | Path) -> bool:
    """Whether a command succeeds with the rights of the server."""
    return not subprocess.run([*prefix(), *command], capture_output=True).returncode


@pytest.mark.parametrize(
    "sections",
    [{}, {"on_demand": {"projects": ["*"]}}],
    ids=["plain", "on demand, and no fetcher can work"],
)
def test_pages_and_files_are_served_by_who_may_write_nothing(
    simulator: Simulator, tmp_path: Path, sections: dict[str, Any]
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror = Mirror(tmp_path, simulator, select={"projects": ["six"]}, **sections)
    mirror.sync()
    before = listing(mirror.root)
    with only_readable(mirror.root):
        assert can("test", "-r", mirror.path(file))
        for path in (mirror.root, mirror.root / "simple" / "six", mirror.path(file)):
            assert not can("test", "-w", path)
        assert not can("ls", mirror.root / ".pypimirror")
        with serving(mirror, prefix()) as served:
            for _ in range(2):  # the second time, from what the server keeps
                assert served.page("six").files() == [file.filename]
                assert served.get(file).body == bytes(file.content)
                assert served.get(file, ".metadata").body == file.metadata
            assert served.page("idna").status == (503 if sections else 404)
            assert served.metric("pypimirror_http_requests_total") == 7
    assert listing(mirror.root) == before
