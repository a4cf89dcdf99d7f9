"""What the mirror holds as a whole is known without counting.

`Mirror.sync` holds what is known against what counting finds, after each sync of every test; here
are ways for the two to part that few tests go.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from pypimirror.catalog.database import Catalog, engine_for
from pypimirror.pipeline import sequence
from pypimirror.pipeline.audit import audit
from pypimirror.pipeline.audit.audit import Options
from pypimirror.pipeline.run import Run
from pypimirror.system.project import project_directory
from tests.mirror import Mirror, offer
from tests.simulator import Simulator, Status


@pytest.fixture
def mirror(tmp_path: Path, simulator: Simulator) -> Mirror:
    return Mirror(tmp_path, simulator, delete={"max_share": 1.0})


def test_known_totals_follow_files_that_come_fail_leave_and_return(
    mirror: Mirror, simulator: Simulator
) -> None:
    bad, _ = offer(simulator, "six", "1.0", "2.0")
    offer(simulator, "idna", "1.0")
    simulator.fault(bad, Status(404))
    mirror.sync()
    pages, files, size = mirror.known_totals()
    assert (pages, files["published"], files["failed"], size > 0) == (2, 2, 1, True)
    simulator.delete_project("idna")
    mirror.sync()
    pages, files, _ = mirror.known_totals()
    assert (pages, files["published"], files["withdrawn"]) == (1, 1, 1)
    simulator.heal()
    offer(simulator, "idna", "1.0")
    mirror.sync()
    pages, files, _ = mirror.known_totals()
    assert (pages, files["withdrawn"]) == (2, 0)


def test_known_totals_follow_a_repair(mirror: Mirror, simulator: Simulator) -> None:
    first, second = offer(simulator, "six", "1.0", "2.0")
    mirror.sync()
    mirror.path(first).write_bytes(b"else")
    mirror.path(second).unlink()
    simulator.fault(second, Status(404))

    def repair(run: Run) -> None:
        audit.audit(run, Options(repair=True), sequence.repair)

    mirror.sync(work=repair, sound=False)
    assert mirror.known_totals() == mirror.counted_totals()
    assert mirror.known_totals()[1]["published"] == 1


def test_a_migration_counts_what_it_finds(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0", "2.0")
    mirror.sync()
    known = mirror.known_totals()
    config = Config()
    config.set_main_option("script_location", str(project_directory() / "migrations"))
    catalog = Catalog(engine_for(mirror.config.catalog_url))
    with closing(catalog), catalog.write() as connection:
        config.attributes["connection"] = connection.alchemy
        command.downgrade(config, "0002")
    assert mirror.known_totals() == known
    offer(simulator, "six", "3.0")
    mirror.sync()
