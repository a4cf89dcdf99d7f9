"""Mirrors for the stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pypimirror.pipeline.context import pools as pools_module
from pypimirror.system.workers import Workers
from tests.mirror import Mirror
from tests.simulator import Simulator


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator) -> Mirror:
    """A mirror of everything that one upstream has; removals take effect at once."""
    return Mirror(tmp_path, simulator, delete={"grace": "0s"})


@pytest.fixture
def second() -> Iterator[Simulator]:
    """Another upstream, empty."""
    with Simulator() as running:
        yield running


MakeMirror = Callable[..., Mirror]


@pytest.fixture
def make_mirror(tmp_path: Path) -> MakeMirror:
    """Makes mirrors of any upstreams."""

    def make(*simulators: Simulator, **sections: dict[str, Any]) -> Mirror:
        return Mirror(tmp_path, *simulators, **sections)

    return make


@pytest.fixture(autouse=True)
def warm_workers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the syncs of one test share their worker processes, which take long to start.

    That every run ends its own is tested in `tests/cli`.
    """

    class Shared(Workers[Any, Any]):
        cancelled = False

        def cancel(self) -> None:
            self.cancelled = True
            super().cancel()

        def close(self) -> None:
            pass

    pools: dict[bytes, Shared] = {}

    def workers(**settings: Any) -> Workers[Any, Any]:
        key = settings["module"].encode() + msgspec.json.encode(settings["hello"])
        if key not in pools or pools[key].cancelled:
            pools[key] = Shared(**settings)
        return pools[key]

    monkeypatch.setattr(pools_module, "Workers", workers)
    yield
    for pool in pools.values():
        Workers.close(pool)


@pytest.fixture
def dying_workers(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[], AbstractContextManager[None]]:
    """Within its block, verification workers die of files with "deadly" in their names."""

    def workers(**settings: Any) -> Workers[Any, Any]:
        if settings["module"] == "pypimirror.verify.worker":
            settings["module"] = "tests.integrity.dying_worker"
        return Workers(**settings)

    @contextmanager
    def dying() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(pools_module, "Workers", workers)
            yield

    return dying


@pytest.fixture(autouse=True)
def catalogs(database: str) -> None:
    """Catalogs are in the database that `--catalog` asks for."""
