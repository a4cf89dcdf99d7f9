"""One run, one mirror root, one catalog: whatever leads to them, and whatever they are named.

Promise 6 for a root that is a symbolic link, copies that share files with their original, and
paths with signs that addresses give a meaning to.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pypimirror.catalog.database import sqlite_file
from pypimirror.config import settings as configs
from pypimirror.config.settings import ConfigError
from pypimirror.domain.model import Reason
from pypimirror.pipeline import sequence
from pypimirror.pipeline.run import Run
from pypimirror.storage import lock
from tests import databases
from tests.mirror import Mirror, offer
from tests.simulator import Simulator

own_catalog = pytest.mark.skipif(
    databases.current is not None, reason="the catalog is not in the mirror root"
)


@own_catalog
def test_a_root_that_is_swapped_while_a_run_works_is_not_written_to_by_it(
    mirror: Mirror, simulator: Simulator
) -> None:
    first, second = mirror.base / "first", mirror.base / "second"
    first.mkdir()
    second.mkdir()
    mirror.root.symlink_to(first)
    offer(simulator, "six", "1.0")

    def swapped(run: Run) -> None:
        mirror.root.unlink()
        mirror.root.symlink_to(second)
        with lock.hold(first / ".pypimirror" / "other-lock"):
            sequence.sync(run)

    assert mirror.sync(work=swapped, sound=False).state == "completed"
    assert list(second.iterdir()) == []
    assert (first / "simple/six/index.html").is_file()
    assert mirror.sync().state == "completed"
    assert (second / "simple/six/index.html").is_file()


@own_catalog
def test_copies_that_share_their_files_have_a_catalog_each(
    mirror: Mirror, simulator: Simulator, tmp_path: Path
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    copy = Mirror(tmp_path / "copy", *mirror.simulators, **mirror.sections)
    shutil.copytree(mirror.root, copy.root, copy_function=os.link)
    offer(simulator, "six", "2.0")
    for each in (copy, mirror):
        assert each.sync().state == "completed"
        assert len(each.files("six")) == 2
    catalogs = [sqlite_file(each.config.catalog_url) for each in (mirror, copy)]
    assert len({path.stat().st_ino for path in catalogs if path}) == 2
    for each in (copy, mirror):
        number = each.query("SELECT count(*) FROM runs")[0][0]
        assert number == 2, "each knows its own runs, and those from before there were two"


@own_catalog
@pytest.mark.parametrize("name", ["what?", "c#", "100%", "a%3Fb", "?mode=ro", "plain é"])
def test_a_directory_may_have_any_name(tmp_path: Path, simulator: Simulator, name: str) -> None:
    mirror = Mirror(tmp_path / name, simulator)
    offer(simulator, "six", "1.0")
    assert mirror.sync().state == "completed"
    assert (mirror.root / ".pypimirror" / "catalog.sqlite").is_file()
    assert mirror.sync().state == "completed"
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


@pytest.mark.parametrize(
    "place",
    [
        "pypimirror.toml",
        "mirror/simple/six/index.html",
        "mirror/packages/list",
        "mirror/.pypimirror/catalog.sqlite",
        "mirror/../mirror/simple/index.html",
        "link/simple/index.html",
        "mirror",
    ],
)
@pytest.mark.parametrize(("section", "key"), [("publish", "changes"), ("metrics", "textfile")])
def test_what_a_run_writes_for_others_is_never_what_the_mirror_needs(
    mirror: Mirror, section: str, key: str, place: str
) -> None:
    (mirror.base / "link").symlink_to(mirror.root)
    before = mirror.file.read_bytes()
    mirror.configure(**{section: {key: place}})
    with pytest.raises(ConfigError, match=rf"{section}\.{key}: "):
        mirror.sync()
    assert mirror.file.read_bytes() != before


@own_catalog
def test_a_list_of_changes_that_becomes_a_link_to_the_catalog_ends_the_run(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    mirror.configure(publish={"changes": "list-{run}"})
    catalog = mirror.root / ".pypimirror" / "catalog.sqlite"

    def linked(run: Run) -> None:
        raise AssertionError("not reached")

    mirror.sync()
    before = catalog.stat().st_ino
    config = mirror.config
    published = config.publish.model_copy(update={"changes": catalog})
    from pypimirror.pipeline.lifecycle import sync as run_sync

    result = run_sync(config.model_copy(update={"publish": published}), (), linked, trigger="test")
    assert result.state == "failed"
    assert [f.reason for f in result.failures] == [Reason.CONFIGURATION]
    assert catalog.stat().st_ino == before


def test_addresses_of_files_are_read_as_they_are_written(tmp_path: Path) -> None:
    for name in ("plain", "what?", "c#", "100%", "a%3Fb?uri=true"):
        assert sqlite_file(configs.sqlite_url(tmp_path / name)) == tmp_path / name
