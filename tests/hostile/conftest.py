"""Mirrors in a room of their own, so that anything written outside of them is seen."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.mirror import Mirror, listing
from tests.pipeline.conftest import warm_workers as warm_workers
from tests.simulator import Fault, Simulator
from tests.simulator.wire import Answer, Exchange

#: Little patience: two attempts, and a second without a byte.
HASTY = {"processes": 2, "connections": 64, "timeout": 1, "tries": 2}


@dataclass
class Bomb(Fault):
    """As `GzipBomb`, packed before anybody waits for it."""

    size: int
    body: bytes = b""

    def __post_init__(self) -> None:
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        block = b" " * (1 << 20)
        parts = [packer.compress(block) for _ in range(self.size >> 20)]
        self.body = b"".join([*parts, packer.flush()])

    def change(self, answer: Answer, exchange: Exchange) -> Answer:
        headers = answer.headers | {"Content-Encoding": "gzip"}
        return replace(answer, headers=headers, body=self.body)


class Room:
    """A mirror, and everything around it."""

    def __init__(self, base: Path, simulator: Simulator, **sections: dict[str, object]) -> None:
        self.base = base
        (base / "packages").mkdir(parents=True)
        (base / "packages" / "bystander").write_text("do not touch")
        self.mirror = Mirror(base / "a" / "b", simulator, download=dict(HASTY), **sections)
        self.before = self.around()

    def around(self) -> dict[str, tuple[int, int]]:
        """Everything that is not the mirror's."""
        inside = str(self.mirror.root.relative_to(self.base))
        ours = {"pypimirror.toml"}
        return {
            name: status
            for name, status in listing(self.base).items()
            if not name.startswith(inside) and Path(name).name not in ours
        }

    def check(self) -> None:
        """Nothing outside of the mirror root was touched, and what is in it is sound."""
        assert self.around() == self.before
        self.mirror.check()
        served = self.mirror.served()
        assert all(name.split("/")[0] in ("simple", "packages") for name in served)
        for name in served:
            assert ".." not in Path(name).parts
            assert name.isprintable()


@pytest.fixture(autouse=True)
def catalogs(database: str) -> None:
    """Catalogs are in the database that `--catalog` asks for."""
