"""Staging: what a run can go on with is kept, all else goes; and bytes that rot there, between the
download and the proof, are never placed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from pypimirror.catalog.database import Catalog
from pypimirror.catalog.holder import Holder, this_machine, this_process
from pypimirror.catalog.queries.work import workers
from pypimirror.catalog.states import CHILD, State
from pypimirror.domain.model import Reason, Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.download.staging import sweep
from pypimirror.pipeline.run import Run
from pypimirror.storage.workspace import Workspace
from tests.corpus.build import make_sdist, make_wheel
from tests.integrity.watching import Watcher
from tests.mirror import Mirror, offer, reasons
from tests.pipeline.audit.test_audit import empty, flip, lengthen, shorten
from tests.sampling import sample
from tests.simulator import Simulator, Truncate
from tests.system.test_regular import THINGS


class Killed(BaseException):
    """The end of a process, as the catalog and the disk see it."""


def only_fetch(run: Run) -> None:
    """Sync, and die before anything is verified."""

    def call(run: Run, stage: Stage, batch: Batch) -> None:
        if stage is Stage.VERIFY:
            raise Killed
        sequence.perform(run, stage, batch)

    sequence.sync(run, call)


def fetch_and_die(mirror: Mirror) -> None:
    with pytest.raises(Killed):
        mirror.sync(work=only_fetch)


def staged(mirror: Mirror) -> dict[str, Path]:
    """What is fetched and waits in staging, by file name."""
    rows = mirror.query("SELECT id, filename FROM files WHERE state = ?", int(State.FETCHED))
    staging = mirror.root / ".pypimirror" / "staging"
    return {row["filename"]: staging / f"{row['id']}.part" for row in rows}


def leftovers(mirror: Mirror) -> set[str]:
    return {path.name for path in (mirror.root / ".pypimirror" / "staging").iterdir()}


# Corruption in staging, before the move


@pytest.mark.parametrize("damage", sample([flip, shorten, lengthen, empty, Path.unlink], flip))
@pytest.mark.parametrize("digests", [("sha256",), ("md5",), None], ids=["sha256", "md5", "none"])
def test_bytes_damaged_in_staging_are_never_placed_and_come_anew(
    mirror: Mirror,
    simulator: Simulator,
    damage: Callable[[Path], None],
    digests: tuple[str, ...] | None,
) -> None:
    said = {"digests": digests} if digests else {"digests": None, "size": None}
    files = [
        simulator.add_file("six", *make_wheel("six", "1.0", padding=3000), **said),
        simulator.add_file("six", *make_sdist("six", "2.0", padding=3000), **said),
        simulator.add_file("six", *make_sdist("six", "3.0", suffix=".zip"), **said),
    ]
    fine = simulator.add_file("six", *make_wheel("six", "9.0"))
    fetch_and_die(mirror)
    assert not mirror.has_page("six")
    for file in files:
        damage(staged(mirror)[file.filename])
    watcher = Watcher(mirror.root)
    with watcher.watching():
        result = mirror.sync()
        if result.state == "incomplete":  # without a digest, it counts as the upstream's fault
            assert digests is None
            assert set(reasons(result.failures).values()) == {Reason.BAD_ARCHIVE}
            assert mirror.sync().state == "completed"
    assert watcher.wrong == []
    assert all(mirror.holds(file) for file in [*files, fine])
    assert simulator.downloads(fine.filename) == 1
    assert leftovers(mirror) == set()


def test_what_was_fetched_and_is_sound_is_not_fetched_again(
    mirror: Mirror, simulator: Simulator
) -> None:
    files = offer(simulator, "six", "1.0", "2.0")
    fetch_and_die(mirror)
    assert mirror.sync().state == "completed"
    assert all(mirror.holds(file) for file in files)
    assert [simulator.downloads(file.filename) for file in files] == [1, 1]


def test_bytes_of_one_file_in_the_place_of_another_are_found(
    mirror: Mirror, simulator: Simulator
) -> None:
    one, two = offer(simulator, "six", "1.0", "2.0")
    fetch_and_die(mirror)
    at = staged(mirror)
    aside = at[one.filename].with_name("aside")
    at[one.filename].rename(aside)
    at[two.filename].rename(at[one.filename])
    aside.rename(at[two.filename])
    assert mirror.sync().state == "completed"
    assert mirror.holds(one) and mirror.holds(two)


# What is kept and what goes


@pytest.fixture
def half(mirror: Mirror, simulator: Simulator) -> dict[str, Path]:
    """A mirror with a file in each state that matters to staging; its bytes by state."""
    (published,) = offer(simulator, "six", "1.0")
    mirror.sync()
    fetched, failed = offer(simulator, "six", "2.0", "3.0")
    simulator.fault(f"*/{failed.filename}", Truncate(at=10))
    fetch_and_die(mirror)
    ids = {row["filename"]: row["id"] for row in mirror.query("SELECT id, filename FROM files")}
    staging = mirror.root / ".pypimirror" / "staging"
    found = {"published": published, "fetched": fetched, "failed": failed}
    assert {name: mirror.state(file.filename) for name, file in found.items()} == {
        name: name for name in found
    }
    return {name: staging / f"{ids[file.filename]}.part" for name, file in found.items()}


def swept(mirror: Mirror) -> int:
    catalog = Catalog.open(mirror.config.catalog_url)
    try:
        return sweep(catalog, Workspace(mirror.root))
    finally:
        catalog.close()


def test_what_can_be_continued_is_kept(mirror: Mirror, half: dict[str, Path]) -> None:
    failed = half["failed"]
    failed.write_bytes(b"the beginning")
    failed.with_name(f"{failed.name}.json").write_text("{}")
    kept = {half["fetched"].name, failed.name, f"{failed.name}.json"}
    before = leftovers(mirror)
    assert kept <= before
    swept(mirror)
    assert leftovers(mirror) == kept


def test_half_written_pages_of_the_first_version_go(mirror: Mirror, half: dict[str, Path]) -> None:
    old = mirror.root / ".pypimirror" / "page.7"
    old.write_bytes(b"<!DOC")
    swept(mirror)
    assert not old.exists()
    assert half["fetched"].exists()


@pytest.mark.parametrize("name", ["part", "note"])
def test_a_beginning_without_its_note_or_a_note_alone_is_of_no_use(
    mirror: Mirror, half: dict[str, Path], name: str
) -> None:
    failed = half["failed"]
    note = failed.with_name(f"{failed.name}.json")
    failed.unlink(missing_ok=True)
    note.unlink(missing_ok=True)
    (failed if name == "part" else note).write_bytes(b"{}")
    before = leftovers(mirror)
    assert swept(mirror) == len(before) - 1
    assert leftovers(mirror) == {half["fetched"].name}


def test_all_else_goes(mirror: Mirror, half: dict[str, Path]) -> None:
    swept(mirror)
    staging = half["fetched"].parent
    strangers = [
        half["published"].name,
        f"{half['published'].stem}.metadata",
        f"{half['fetched'].stem}.metadata",
        "999999.part",
        "999999.part.json",
        "list.sim0",
        "notes.txt",
        ".hidden",
        "x.part",
        "²3.part",
        f"0{half['fetched'].name}",
        "9" * 30 + ".part",
    ]
    for name in strangers:
        (staging / name).write_bytes(b"x")
    (staging / "1.directory").mkdir()
    assert swept(mirror) == len(strangers)
    (staging / "1.directory").rmdir()
    assert leftovers(mirror) == {half["fetched"].name}


def test_a_large_transfer_goes_on_where_a_dead_run_left_it(
    mirror: Mirror, simulator: Simulator
) -> None:
    made = make_sdist("six", "1.0", padding=8_000_000)
    file = simulator.add_file("six", *made)
    simulator.fault(f"*/{file.filename}", Truncate(at=6_000_000), times=1)
    assert mirror.sync().state == "incomplete"
    assert len(leftovers(mirror)) == 2
    simulator.forget()
    assert mirror.sync().state == "completed"
    (request,) = simulator.find(f"*/{file.filename}")
    assert "range" in request.headers and request.sent < 4_000_000
    assert mirror.holds(file)


def test_a_damaged_beginning_ends_in_good_bytes_all_the_same(
    mirror: Mirror, simulator: Simulator
) -> None:
    made = make_sdist("six", "1.0", padding=8_000_000)
    file = simulator.add_file("six", *made)
    simulator.fault(f"*/{file.filename}", Truncate(at=6_000_000), times=1)
    mirror.sync()
    staging = mirror.root / ".pypimirror" / "staging"
    (part,) = staging.glob("*.part")
    flip(part)
    watcher = Watcher(mirror.root)
    with watcher.watching():
        for _ in range(2):
            result = mirror.sync()
    assert watcher.wrong == []
    assert result.state == "completed" and mirror.holds(file)


def test_a_sweep_of_many_looks_at_each(mirror: Mirror, half: dict[str, Path]) -> None:
    swept(mirror)
    staging = half["fetched"].parent
    for number in range(3000):
        os.close(os.open(staging / f"{10**6 + number}.part", os.O_CREAT | os.O_WRONLY))
    assert swept(mirror) == 3000
    assert leftovers(mirror) == {half["fetched"].name}


def test_bytes_that_somebody_changes_in_staging_during_the_run_are_never_placed(
    mirror: Mirror, simulator: Simulator
) -> None:
    (file,) = offer(simulator, "six", "1.0")

    def call(run: Run, stage: Stage, batch: Batch) -> None:
        if stage is Stage.VERIFY:
            flip(staged(mirror)[file.filename])
        sequence.perform(run, stage, batch)

    mirror.sync(work=lambda run: sequence.sync(run, call), sound=False)
    mirror.check()


@pytest.mark.parametrize("thing", ["directory", "fifo", "link to a file", "a served file"])
def test_what_stands_in_staging_is_no_others_business_and_never_written_into(
    mirror: Mirror, simulator: Simulator, thing: str
) -> None:
    (held,) = offer(simulator, "six", "1.0")
    mirror.sync()
    (row,) = mirror.query("SELECT max(id) AS last FROM files")
    (worker,) = mirror.query("SELECT max(id) AS last FROM workers")
    own = mirror.root / ".pypimirror" / "staging" / str(worker["last"] + 1)
    place = own / f"{row['last'] + 1}.part"

    def work(run: Run) -> None:
        own.mkdir()
        if thing == "a served file":
            place.hardlink_to(mirror.path(held))
        else:
            THINGS[thing](place)
        sequence.sync(run)

    offer(simulator, "six", "2.0", "3.0")
    result = mirror.sync(work=work)
    assert mirror.holds(held)
    in_the_way = [Reason.FOREIGN] if thing == "directory" else []
    assert [failure.reason for failure in result.failures] == in_the_way
    assert len(mirror.files("six")) == 3 - len(in_the_way)


def test_copies_by_hard_links_continue_a_transfer_each_in_bytes_of_its_own(
    mirror: Mirror, simulator: Simulator
) -> None:
    file = simulator.add_file("six", *make_wheel("six", "1.0", padding=3 << 20))
    rule = simulator.fault(file, Truncate(at=2 << 20))
    mirror.sync()
    copy = Mirror(mirror.base / "copy", simulator)
    shutil.copytree(mirror.root, copy.root, copy_function=os.link)
    simulator.heal(rule)
    for each in (mirror, copy):
        each.query("UPDATE files SET next_try = NULL")
    mirror.sync()
    file.replace(make_wheel("six", "1.0", padding=2 << 20)[1])
    copy.sync()
    mirror.check()
    assert copy.holds(file)


@pytest.mark.parametrize("thing", ["fifo", "link to a file"])
def test_what_stands_where_a_report_belongs_holds_up_nothing(
    mirror: Mirror, simulator: Simulator, thing: str
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    (row,) = mirror.query("SELECT max(id) AS last FROM files")
    THINGS[thing](mirror.root / ".pypimirror" / "quarantine" / f"{row['last'] + 1}.json")
    (bad,) = offer(simulator, "bad", "1.0")
    bad.set(digests={"sha256": "ab" * 32})
    assert reasons(mirror.sync().failures) == {bad.filename: Reason.DIGEST_MISMATCH.value}


# What workers leave to each other

#: What is fetched of `half`.
FETCHED = "six-2.0-py3-none-any.whl"


def staging_of(mirror: Mirror, worker: int) -> Path:
    return mirror.root / ".pypimirror" / "staging" / str(worker)


def leave_to_worker(mirror: Mirror, half: dict[str, Path], holder: Holder) -> int:
    """Move what is in staging to a worker of the last run, which was this process; return it."""
    (run,) = mirror.query("SELECT max(id) AS id FROM runs")
    with closing(Catalog.open(mirror.config.catalog_url)) as catalog, catalog.write() as connection:
        worker = workers.start(connection, run["id"], CHILD, "1", holder, 60.0)
    own = staging_of(mirror, worker)
    own.mkdir()
    for path in list(own.parent.glob("*.part*")):
        path.rename(own / path.name)
    return worker


def dead(alive: Holder) -> Holder:
    """A process of this machine that has ended."""
    return msgspec.structs.replace(alive, started=alive.started - 1)


def test_the_parts_of_a_dead_worker_are_used_by_others(
    mirror: Mirror, simulator: Simulator, half: dict[str, Path]
) -> None:
    worker = leave_to_worker(mirror, half, dead(this_process(this_machine())))
    simulator.forget()
    mirror.sync()
    assert mirror.state(FETCHED) == "published"
    assert simulator.downloads(FETCHED) == 0
    assert not staging_of(mirror, worker).exists()
    assert leftovers(mirror) == set()


def test_the_parts_of_a_worker_that_may_wake_up_are_never_used(
    mirror: Mirror, simulator: Simulator, half: dict[str, Path]
) -> None:
    """Its process exists, so it may write into them at any time. It has lost its claims."""
    worker = leave_to_worker(mirror, half, this_process(this_machine()))
    simulator.forget()
    with (staging_of(mirror, worker) / half["fetched"].name).open("ab") as zombie:
        mirror.sync()
        zombie.write(b"what it still had to say")
    mirror.check()
    assert mirror.state(FETCHED) == "published"
    assert simulator.downloads(FETCHED) == 1
    assert leftovers(mirror) == set()
