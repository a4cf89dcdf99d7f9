"""Summaries of projects that were here before there were summaries come with the next syncs."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from pypimirror.catalog.database import Catalog
from pypimirror.pipeline.publish import summaries
from tests.corpus.build import make_wheel
from tests.mirror import Mirror, offer
from tests.simulator import Simulator


def rows(mirror: Mirror, *changes: str) -> dict[str, str]:
    catalog = Catalog.open(mirror.catalog_url)
    with catalog.write() as connection:
        for change in changes:
            connection.execute(text(change))
        found = connection.execute(text("SELECT name, summary FROM summaries")).all()
    catalog.close()
    return {row.name: row.summary for row in found}


def test_summaries_of_earlier_pages_follow_some_in_each_sync(
    tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        wheel = make_wheel(name, "1.0", summary=f"This is {name}")
        simulator.add_file(name, *wheel, core_metadata=True)
    mirror = Mirror(tmp_path, simulator)
    mirror.sync()
    forget = "DELETE FROM summaries", "DELETE FROM marks WHERE name = 'summaries'"
    assert rows(mirror, *forget) == {}
    monkeypatch.setattr(summaries, "_CHUNK", 1)
    monkeypatch.setattr(summaries, "AT_ONCE", 2)
    offer(simulator, "d", "1.0")
    mirror.sync()
    assert rows(mirror) == {"a": "This is a", "b": "This is b", "d": "d for tests"}
    offer(simulator, "e", "1.0")
    mirror.sync()
    assert rows(mirror)["c"] == "This is c"
