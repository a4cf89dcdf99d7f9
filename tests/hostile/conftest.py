"""Mirrors in a room of their own, so that anything written outside of them is seen."""

from __future__ import annotations

from pathlib import Path

from tests.mirror import Mirror, listing
from tests.simulator import Simulator
from tests.stages.conftest import warm_workers as warm_workers

#: Little patience: two attempts, and a third of a second without a byte.
HASTY = {"processes": 2, "connections": 64, "timeout": 0.3, "tries": 2}


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
