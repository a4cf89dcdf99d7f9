"""One directory and its catalog are of one run, or everything is looked for (promise 2).

Catalogs take turns, directories and catalogs are put back, and runs die in between: no page names
what is not there, nobody is locked out, and nothing is fetched that is here.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.marks import DOUBT, GENERATION
from pypimirror.domain.model import Reason
from pypimirror.pipeline.audit import doubt
from pypimirror.pipeline.lifecycle import sync as run_sync
from pypimirror.pipeline.run import Run
from pypimirror.storage import generation
from pypimirror.system import regular
from tests.databases import Databases
from tests.mirror import Mirror, offer, reasons
from tests.simulator import IndexFile, Simulator

PRIVATE = ".pypimirror"


@pytest.fixture
def held(mirror: Mirror, simulator: Simulator) -> list[IndexFile]:
    """Two releases of six, and another project; all mirrored."""
    found = offer(simulator, "six", "1.0", "2.0")
    offer(simulator, "idna", "1.0")
    assert mirror.sync().state == "completed"
    return found


def warned(mirror: Mirror, caplog: pytest.LogCaptureFixture) -> str:
    caplog.clear()
    assert mirror.sync().state == "completed"
    return "\n".join(record.getMessage() for record in caplog.records)


def test_two_catalogs_that_take_turns_publish_no_dead_link(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], postgresql: Databases
) -> None:
    first = mirror.config.catalog_url
    second = postgresql.migrated()
    mirror.configure(mirror={"catalog": second})
    mirror.sync()
    held[0].remove()
    mirror.sync()
    mirror.sync()
    assert not mirror.holds(held[0])
    simulator.add_file("six", held[0].filename, bytes(held[0].content), core_metadata=True)
    (new,) = offer(simulator, "six", "3.0")
    mirror.configure(mirror={"catalog": first})
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [*(file.filename for file in held), new.filename]
    mirror.configure(mirror={"catalog": second})
    assert mirror.sync().state == "completed"


@pytest.mark.parametrize("inode", ["another inode", "the same inode"])
def test_a_tree_that_was_put_back_is_brought_up_to_date_by_the_next_sync(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], tmp_path: Path, inode: str
) -> None:
    for name in ("packages", "simple"):
        shutil.copytree(mirror.root / name, tmp_path / name)
    (new,) = offer(simulator, "six", "3.0")
    mirror.sync()
    for name in ("packages", "simple"):
        if inode == "another inode":
            (mirror.root / name).rename(tmp_path / f"{name}.old")
        else:
            for path in (mirror.root / name).iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(tmp_path / name, mirror.root / name, dirs_exist_ok=True)
    simulator.forget()
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [*(file.filename for file in held), new.filename]
    assert simulator.downloads(new.filename) == 1
    assert simulator.downloads(held[0].filename) == 0


def test_a_catalog_that_was_put_back_names_nothing_that_is_not_there(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], tmp_path: Path
) -> None:
    catalog = mirror.root / PRIVATE / "catalog.sqlite"
    shutil.copy(catalog, tmp_path / "older")
    held[0].remove()
    mirror.sync()
    mirror.sync()
    assert not mirror.holds(held[0])
    catalog.unlink()
    shutil.copy(tmp_path / "older", catalog)
    assert mirror.sync().state == "completed"
    assert mirror.files("six") == [held[1].filename]


def test_two_copies_of_one_directory_with_one_catalog_mend_each_other(
    tmp_path: Path, simulator: Simulator, postgresql: Databases
) -> None:
    catalog = {"catalog": postgresql.migrated()}
    one = Mirror(tmp_path / "one", simulator, mirror=catalog)
    offer(simulator, "six", "1.0")
    one.sync()
    other = Mirror(tmp_path / "other", simulator, mirror=catalog)
    shutil.copytree(one.root, other.root)
    files = ["six-1.0-py3-none-any.whl"]
    for number, mirror in enumerate((one, other, one, other), start=2):
        (new,) = offer(simulator, "six", f"{number}.0")
        files.append(new.filename)
        assert mirror.sync().state == "completed"
        assert mirror.files("six") == files


def test_what_is_lost_leaves_its_page_before_anything_is_fetched(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile]
) -> None:
    mirror.path(held[0]).unlink()
    (mirror.root / PRIVATE / generation.NOTE).unlink()
    run_sync(mirror.config, (), lambda run: None, trigger="test")
    assert mirror.files("six") == [held[1].filename]
    mirror.check()


@pytest.mark.parametrize("lost", ["", ".metadata"])
def test_a_page_that_is_written_names_nothing_that_is_lost(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], lost: str
) -> None:
    """Also where catalog and directory agree: somebody has removed one file."""
    path = mirror.path(held[0])
    path.with_name(path.name + lost).unlink()
    offer(simulator, "six", "3.0")
    simulator.forget()
    assert mirror.sync().state == "completed"
    assert len(mirror.files("six")) == 3
    assert simulator.downloads(held[0].filename) == (0 if lost else 1)


def test_what_vanishes_while_a_run_works_is_on_no_page_and_is_told(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the look at the beginning of a batch, there is one at the page itself."""
    monkeypatch.setattr("pypimirror.pipeline.publish.presence.take_back", lambda run, rows: False)
    mirror.path(held[0]).unlink()
    (new,) = offer(simulator, "six", "3.0")
    result = mirror.sync()
    assert result.state == "incomplete"
    assert reasons(result.failures) == {held[0].filename: Reason.LOST}
    assert mirror.files("six") == [held[1].filename, new.filename]
    assert mirror.sync().state == "completed"
    assert len(mirror.files("six")) == 3


def test_a_run_that_dies_before_it_has_looked_leaves_the_doubt(
    mirror: Mirror,
    held: list[IndexFile],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (mirror.root / PRIVATE / generation.NOTE).write_text("7-other\nsqlite:///elsewhere\n")
    mirror.path(held[0]).unlink()

    def killed(run: Run) -> None:
        raise SystemExit

    with monkeypatch.context() as context, pytest.raises(SystemExit):
        context.setattr("pypimirror.pipeline.audit.doubt.settle", killed)
        mirror.sync(sound=False)
    said = warned(mirror, caplog)
    assert "this directory was last used with the catalog sqlite:///elsewhere" in said
    assert "1 file missing" in said
    assert mirror.holds(held[0])
    assert "checks that every file" not in warned(mirror, caplog)


@pytest.mark.parametrize("written", ["neither", "catalog", "tree"])
def test_a_run_that_dies_between_both_notes_locks_nobody_out(
    mirror: Mirror,
    held: list[IndexFile],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    written: str,
) -> None:
    file = mirror.root / PRIVATE / generation.NOTE
    if written == "tree":
        file.write_text(generation.after(None, file.read_text()) + "\n")
    else:

        def killed(*_: object) -> None:
            raise SystemExit

        where = "pipeline.ownership._say" if written == "catalog" else "catalog.queries.leases.put"
        with monkeypatch.context() as context, pytest.raises(SystemExit):
            context.setattr(f"pypimirror.{where}", killed)
            mirror.sync(sound=False)
    said = warned(mirror, caplog)
    assert ("checks that every file" in said) == (written != "neither")
    assert "were missing" not in said
    assert "checks that every file" not in warned(mirror, caplog)


@pytest.mark.parametrize("text", [b"", b"\xff\xfe", b"x" * 5000, b"\n", b"9" * 4000])
def test_whatever_stands_in_the_note_is_looked_through_and_not_believed(
    mirror: Mirror, held: list[IndexFile], caplog: pytest.LogCaptureFixture, text: bytes
) -> None:
    (mirror.root / PRIVATE / generation.NOTE).write_bytes(text)
    assert "checks that every file" in warned(mirror, caplog)
    assert "checks that every file" not in warned(mirror, caplog)


def test_a_mirror_from_before_there_were_generations_is_not_in_doubt(
    mirror: Mirror, held: list[IndexFile], caplog: pytest.LogCaptureFixture
) -> None:
    (mirror.root / PRIVATE / generation.NOTE).unlink()
    mirror.query("DELETE FROM marks WHERE name = ?", GENERATION.name)
    assert "checks that every file" not in warned(mirror, caplog)


def test_each_run_has_a_generation_of_its_own(mirror: Mirror, held: list[IndexFile]) -> None:
    file = mirror.root / PRIVATE / generation.NOTE
    seen = set()
    for _ in range(3):
        mirror.sync()
        seen.add(file.read_text().splitlines()[0])
    assert len(seen) == 3
    assert [int(text.partition("-")[0]) for text in sorted(seen)] == [2, 3, 4]


def test_a_doubt_is_settled_by_a_look_at_each_file_and_reads_none(
    mirror: Mirror, held: list[IndexFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded work: also where all is well, and where it is a mirror of millions of files."""
    opened: list[str] = []
    real = regular.open_file

    def counted(path: str, *more: str, follow: bool = False) -> object:
        opened.append(path)
        return real(path, *more, follow=follow)

    (mirror.root / PRIVATE / generation.NOTE).unlink()
    monkeypatch.setattr("pypimirror.system.regular.open_file", counted)
    run_sync(mirror.config, (), doubt.settle, trigger="test")
    assert [path for path in opened if "packages/" in path or "simple/" in path] == []
    catalog = Catalog.open(mirror.config.catalog_url)
    assert mirror.query("SELECT 1 FROM marks WHERE name = ?", DOUBT.name) == []
    catalog.close()
