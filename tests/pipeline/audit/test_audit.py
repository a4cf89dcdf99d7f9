"""`pypimirror verify`: what is on disk stays true. It finds whatever was altered, truncated, lost
or put there by others; repairing takes bad files off their pages at once; nothing is deleted that
it does not understand."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pypimirror.catalog.schema import files
from pypimirror.domain.model import Reason
from pypimirror.pipeline import sequence
from pypimirror.pipeline.audit import audit as recheck_module
from pypimirror.pipeline.audit.audit import Options, audit
from pypimirror.pipeline.lifecycle import sync as run_sync
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from pypimirror.verify.protocol import Check, Checked
from pypimirror.verify.readers import Readers
from tests.corpus.build import make_sdist
from tests.integrity.watching import Watcher
from tests.mirror import Mirror, listing, offer, offer_sdist, reasons
from tests.pipeline.conftest import MakeMirror
from tests.sampling import sample
from tests.simulator import Corrupt, IndexFile, Simulator, Status

DAY = 86400.0


def verify(mirror: Mirror, **options: Any) -> Summary:
    """Run `pypimirror verify` in this process."""

    def work(run: Run) -> None:
        audit(run, Options(**options), sequence.repair)

    return run_sync(mirror.config, (), work, trigger="test", command="verify")


@pytest.fixture
def held(mirror: Mirror, simulator: Simulator) -> list[IndexFile]:
    """Two wheels and an sdist of six, and another project; all mirrored."""
    found = [*offer(simulator, "six", "1.0", "2.0"), offer_sdist(simulator, "six", "2.0")]
    offer(simulator, "idna", "1.0")
    assert mirror.sync().state == "completed"
    return found


def private(mirror: Mirror) -> set[str]:
    return {name for name in listing(mirror.root) if name.startswith(".pypimirror/quarantine/")}


# What is found


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def shorten(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def lengthen(path: Path) -> None:
    """By what no tool passes over: zeros behind gzip are the way of some."""
    with path.open("ab") as stream:
        stream.write(b"x")


def empty(path: Path) -> None:
    path.write_bytes(b"")


Damage = Callable[[Path], None]

WHEEL = "packages/six/six-1.0-py3-none-any.whl"
SDIST = "packages/six/six-2.0.tar.gz"

DAMAGES: list[tuple[str, Damage, Reason]] = [
    (WHEEL, flip, Reason.DIGEST_MISMATCH),
    (WHEEL, shorten, Reason.TRUNCATED),
    (WHEEL, empty, Reason.TRUNCATED),
    (WHEEL, lengthen, Reason.DIGEST_MISMATCH),
    (WHEEL, Path.unlink, Reason.LOST),
    (SDIST, flip, Reason.DIGEST_MISMATCH),
    (SDIST, Path.unlink, Reason.LOST),
    (f"{WHEEL}.metadata", flip, Reason.METADATA_MISMATCH),
    (f"{WHEEL}.metadata", empty, Reason.METADATA_MISMATCH),
    (f"{WHEEL}.metadata", Path.unlink, Reason.METADATA_MISMATCH),
    ("packages/six", shutil.rmtree, Reason.LOST),
    ("simple/six/index.html", flip, Reason.PAGE_DIFFERS),
    ("simple/six/index.html", lengthen, Reason.PAGE_DIFFERS),
    ("simple/six/index.v1_json", shorten, Reason.PAGE_DIFFERS),
    ("simple/six/index.v1_json", Path.unlink, Reason.PAGE_DIFFERS),
    ("simple/six", shutil.rmtree, Reason.PAGE_DIFFERS),
    ("simple/index.html", flip, Reason.PAGE_DIFFERS),
    ("simple/index.v1_json", empty, Reason.PAGE_DIFFERS),
    ("simple/index.v1_json", Path.unlink, Reason.PAGE_DIFFERS),
]
EACH = pytest.mark.parametrize(
    ("place", "damage", "reason"),
    sample(DAMAGES, DAMAGES[0], *DAMAGES[4:8], *DAMAGES[10:12], DAMAGES[-2]),
    ids=[f"{d.__name__}-{p}" for p, d, _ in DAMAGES],
)


def test_a_sound_mirror_is_found_sound_and_every_byte_of_it_is_read(
    mirror: Mirror, held: list[IndexFile]
) -> None:
    before = mirror.served()
    for repair in (False, True):
        result = verify(mirror, repair=repair)
        assert (result.state, result.failures) == ("completed", [])
        assert result.counts["files_checked"] == 4
        (total,) = mirror.query("SELECT sum(size) AS bytes FROM files")
        assert result.counts["bytes_checked"] == total["bytes"]
    assert mirror.served() == before, "nothing was written"
    (run,) = mirror.query("SELECT command FROM runs ORDER BY id DESC LIMIT 1")
    assert run["command"] == "verify"


@EACH
def test_damage_is_found_and_left_as_it_is(
    mirror: Mirror, held: list[IndexFile], place: str, damage: Damage, reason: Reason
) -> None:
    damage(mirror.root / place)
    before = mirror.served()
    result = verify(mirror)
    assert result.state == "incomplete"
    assert {problem.reason for problem in result.failures} == {reason}
    named = {problem.file or problem.message.partition(":")[0] for problem in result.failures}
    expected = place.removesuffix(".metadata")
    if reason is not Reason.PAGE_DIFFERS:
        assert all("six-" in name for name in named)
        assert len(named) == (3 if place == "packages/six" else 1)
    else:
        assert any(name.startswith(expected) for name in named)
    assert all("--repair" in problem.message for problem in result.failures)
    assert mirror.served() == before


@EACH
def test_repair_mends_it(
    mirror: Mirror,
    simulator: Simulator,
    held: list[IndexFile],
    place: str,
    damage: Damage,
    reason: Reason,
) -> None:
    simulator.forget()
    damage(mirror.root / place)
    result = verify(mirror, repair=True)
    assert (result.state, result.failures) == ("completed", [])
    assert result.counts["repaired"] > 0
    mirror.check()
    assert all(mirror.holds(file) for file in held)
    assert mirror.files("six") == sorted(file.filename for file in held)
    asked = {request.path for request in simulator.requests}
    assert all("/packages/" in path for path in asked), "no upstream is asked for changes"
    bad_bytes = reason in (Reason.DIGEST_MISMATCH, Reason.TRUNCATED)
    assert bool(private(mirror)) == bad_bytes, "the bad bytes are kept for whoever asks why"
    assert verify(mirror).state == "completed"


@EACH
def test_a_sync_alone_does_not_hide_it(
    mirror: Mirror, held: list[IndexFile], place: str, damage: Damage, reason: Reason
) -> None:
    """A sync without changes reads no file again, so that `verify` must still find it.

    Unless the sync has mended it: it writes pages anew, and looks for all files where directories
    are not those that the last run left.
    """
    damage(mirror.root / place)
    mirror.sync(sound=False)
    found = {problem.reason for problem in verify(mirror).failures}
    if found:
        assert found == {reason}
    else:
        assert reason in (Reason.PAGE_DIFFERS, Reason.LOST)
        mirror.check()
        assert all(mirror.holds(file) for file in held)


# What cannot be repaired


@pytest.mark.parametrize("fault", [Status(404), Status(500), Corrupt()], ids=["404", "500", "bad"])
@pytest.mark.parametrize("damage", sample([flip, shorten, Path.unlink], flip))
def test_a_file_that_cannot_be_repaired_leaves_its_page_and_costs_the_others_nothing(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile], damage: Damage, fault: Any
) -> None:
    bad, *fine = held
    damage(mirror.path(bad))
    simulator.fault(f"*/{bad.filename}", fault)
    result = verify(mirror, repair=True)
    assert result.state == "incomplete"
    assert set(reasons(result.failures)) == {bad.filename}
    assert mirror.files("six") == sorted(file.filename for file in fine)
    mirror.check()
    assert not mirror.path(bad).exists()
    simulator.heal()
    assert mirror.sync().state == "completed"
    assert mirror.holds(bad)


def test_it_leaves_its_page_at_once_and_not_when_the_download_has_ended(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile]
) -> None:
    bad = held[0]
    flip(mirror.path(bad))
    hold = simulator.hold(f"*/{bad.filename}")
    results: list[Summary] = []
    thread = threading.Thread(target=lambda: results.append(verify(mirror, repair=True)))
    thread.start()
    hold.wait_reached()
    try:
        assert bad.filename not in mirror.files("six")
        mirror.check()
    finally:
        hold.release()
        thread.join()
    assert results[0].state == "completed"
    assert bad.filename in mirror.files("six")


def test_while_it_repairs_no_page_links_to_a_bad_file_once_it_was_found(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile]
) -> None:
    for file in held:
        flip(mirror.path(file))
        simulator.fault(f"*/{file.filename}", Corrupt(), times=1)
    watcher = Watcher(mirror.root)
    verify(mirror, repair=True)  # the first answers are bad, too
    assert not mirror.has_page("six") or mirror.files("six") == []
    with watcher.watching():
        verify(mirror, repair=True)
        assert mirror.sync().state == "completed"
    assert watcher.wrong == []
    assert all(mirror.holds(file) for file in held)


def test_what_it_found_is_recorded_even_where_the_deletion_guard_stops_the_repair(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile]
) -> None:
    mirror.configure(delete={"max_share": 0.0})
    for file in [*simulator.project("idna").files, held[1]]:
        file.remove()
    assert mirror.sync().state == "failed"
    flip(mirror.path(held[2]))
    simulator.fault(f"*/{held[2].filename}", Status(500))
    result = verify(mirror, repair=True)
    assert result.state == "failed"
    assert {problem.reason for problem in result.failures} >= {
        Reason.DELETION_GUARD,
        Reason.DIGEST_MISMATCH,
    }
    assert held[2].filename not in mirror.files("six")


def test_a_bad_file_leaves_its_page_also_where_the_guard_holds_on_to_the_project(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile]
) -> None:
    mirror.configure(delete={"max_count": 0})
    simulator.delete_project("six")
    assert mirror.sync().state == "failed"
    assert len(mirror.files("six")) == 3
    flip(mirror.path(held[0]))
    verify(mirror, repair=True)
    assert mirror.files("six") == [held[1].filename, held[2].filename]
    mirror.check()


def test_withdrawn_core_metadata_that_rots_is_made_again_for_a_comeback(
    mirror: Mirror, held: list[IndexFile]
) -> None:
    mirror.configure(delete={"grace": "24h"})
    held[0].remove(keep_bytes=True)
    mirror.sync()
    path = mirror.path(held[0])
    flip(path.with_name(path.name + ".metadata"))
    result = verify(mirror, repair=True)
    assert reasons(result.failures) == {held[0].filename: Reason.METADATA_MISMATCH}
    assert verify(mirror).failures == []
    assert path.exists()


def test_a_repair_does_not_look_for_changes(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile]
) -> None:
    (later,) = offer(simulator, "six", "3.0")
    flip(mirror.path(held[0]))
    assert verify(mirror, repair=True).state == "completed"
    assert later.filename not in mirror.files("six")
    assert mirror.sync().state == "completed"
    assert later.filename in mirror.files("six")


def test_bytes_that_rot_while_they_are_withdrawn_are_not_kept_for_a_comeback(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile]
) -> None:
    mirror.configure(delete={"grace": "24h"})
    gone = held[0]
    path = mirror.path(gone)
    gone.remove(keep_bytes=True)
    mirror.sync()
    flip(path)
    result = verify(mirror, repair=True)
    assert reasons(result.failures) == {gone.filename: Reason.DIGEST_MISMATCH}
    assert not path.exists()
    assert mirror.state(gone.filename) == "withdrawn"
    assert verify(mirror).failures == []


@pytest.mark.parametrize("digests", [None, ("md5",)], ids=["none", "md5"])
def test_a_repaired_file_is_proven_as_well_as_before_and_not_better(
    mirror: Mirror, simulator: Simulator, digests: tuple[str, ...] | None
) -> None:
    said: dict[str, Any] = {"digests": digests} | ({} if digests else {"size": None})
    file = simulator.add_file("six", *make_sdist("six", "1.0"), **said)
    mirror.sync()
    columns = "SELECT proof, proof_algorithm, proof_source FROM files"
    before = tuple(mirror.query(columns)[0])
    flip(mirror.path(file))
    assert verify(mirror, repair=True).state == "completed"
    assert tuple(mirror.query(columns)[0]) == before


# What nobody put there

STRANGERS = [
    "packages/six/six-9.9.tar.gz",
    "packages/six/notes.txt",
    "packages/six/six-2.0.tar.gz.metadata",
    "packages/other/other-1.0.tar.gz",
    "packages/README",
    "packages/ab/cd/deep/deep-1.0.tar.gz",
    "packages/idna/six-2.0.tar.gz",
    "packages/.hidden",
    "packages/six/" + "a-" * 120 + "1.0.zip",
    "simple/six/extra.html",
    "simple/unknown/index.html",
    "simple/robots.txt",
]


@pytest.mark.parametrize("repair", [False, True], ids=["", "repair"])
def test_foreign_files_are_named_one_by_one_and_never_deleted(
    mirror: Mirror, held: list[IndexFile], repair: bool
) -> None:
    for name in STRANGERS:
        path = mirror.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"whose?")
    (mirror.root / "packages" / "link").symlink_to("/etc/hostname")
    before = mirror.served()
    result = verify(mirror, repair=repair)
    assert result.state == "incomplete"
    assert reasons(result.failures) == dict.fromkeys([*STRANGERS, "packages/link"], Reason.FOREIGN)
    assert mirror.served() == before
    assert result.counts["repaired"] == 0


def test_bytes_under_the_name_of_a_file_that_is_not_held_are_strangers_too(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile]
) -> None:
    """The catalog knows the name; nobody has proven these bytes."""
    (failed,) = offer(simulator, "six", "3.0")
    simulator.fault(f"*/{failed.filename}", Status(404))
    held[1].remove()
    mirror.sync()
    strays = [failed, held[1]]
    assert [mirror.state(file.filename) for file in strays] == ["failed", "withdrawn"]
    assert verify(mirror).failures == []
    names = [f"packages/six/{file.filename}{end}" for file in strays for end in ("", ".metadata")]
    for name in names:
        (mirror.root / name).write_bytes(b"whose?")
    result = verify(mirror, repair=True)
    found = dict.fromkeys(names, Reason.FOREIGN) | {failed.filename: Reason.MISSING}
    assert reasons(result.failures) == found
    assert all((mirror.root / name).read_bytes() == b"whose?" for name in names)
    simulator.heal()
    mirror.sync("six")  # which is named, and so waits no more
    assert mirror.holds(failed), "what is fetched takes its place"
    assert set(reasons(verify(mirror).failures)) == set(names[2:])


def test_bytes_under_the_name_of_a_file_that_was_never_held_are_left_when_the_upstream_drops_it(
    mirror: Mirror, simulator: Simulator, held: list[IndexFile]
) -> None:
    (failed,) = offer(simulator, "six", "3.0")
    simulator.fault(f"*/{failed.filename}", Corrupt())
    mirror.sync()
    mirror.path(failed).write_bytes(b"whose?")
    failed.remove()
    mirror.sync()
    assert mirror.state(failed.filename) is None
    assert mirror.path(failed).read_bytes() == b"whose?"


def test_a_foreign_name_that_is_no_text_is_named_all_the_same(
    mirror: Mirror, held: list[IndexFile]
) -> None:
    for directory in (b"packages/six", b"packages/\xff", b"simple", b"simple/\xfe"):
        os.makedirs(os.fsencode(mirror.root) + b"/" + directory, exist_ok=True)
        strange = os.fsencode(mirror.root) + b"/" + directory + b"/six-\xff\n.tar.gz"
        Path(os.fsdecode(strange)).write_bytes(b"")
    result = verify(mirror)
    assert [problem.reason for problem in result.failures] == [Reason.FOREIGN] * 4
    assert all(problem.message.isprintable() for problem in result.failures)
    assert all(problem.message.isascii() for problem in result.failures)


@pytest.mark.parametrize("layout", ["project", "pypi"])
def test_a_file_with_an_odd_name_that_is_ours_is_no_stranger(
    make_mirror: MakeMirror, layout: str
) -> None:
    """Of these names, nobody can tell where the project ends."""
    with Simulator(layout=layout) as simulator:
        names = {
            "six": ["six1.0.tar.gz", "six-1.0.linux-x86_64.tar.gz", "python3-six-1.0.noarch.rpm"],
            "zope-interface": ["zope.interface-4.0.win32-py2.7.exe", "Zope_Interface-5.tar.gz"],
            "a-b-c": ["A.B_c-1.0.zip", "a-b-c-d-1.0.zip"],
        }
        for project, found in names.items():
            for name in found:
                simulator.add_file(project, name, name.encode())
        mirror = make_mirror(simulator, mirror={"layout": layout})
        assert mirror.sync().state == "completed"
        result = verify(mirror)
    assert (result.state, result.failures) == ("completed", [])
    assert result.counts["files_checked"] == 7


# How much is read


def test_quick_reads_only_what_was_touched(mirror: Mirror, held: list[IndexFile]) -> None:
    result = verify(mirror, quick=True)
    assert (result.counts["files_checked"], result.counts["bytes_checked"]) == (4, 0)
    flip(mirror.path(held[0]))
    shorten(mirror.path(held[1]))
    mirror.path(held[2]).unlink()
    result = verify(mirror, quick=True)
    assert set(reasons(result.failures)) == {file.filename for file in held}


def test_quick_sees_lost_core_metadata(mirror: Mirror, held: list[IndexFile]) -> None:
    path = mirror.path(held[0])
    path.with_name(path.name + ".metadata").unlink()
    result = verify(mirror, quick=True)
    assert reasons(result.failures) == {held[0].filename: Reason.METADATA_MISMATCH}


def test_what_keeps_inode_size_and_time_is_found_unless_quick_is_asked_for(
    mirror: Mirror, held: list[IndexFile]
) -> None:
    path = mirror.path(held[0])
    status = path.stat()
    flip(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert verify(mirror, quick=True).failures == []
    assert reasons(verify(mirror).failures) == {held[0].filename: Reason.DIGEST_MISMATCH}


def test_max_age_leaves_out_what_was_seen_to_be_right(
    mirror: Mirror, held: list[IndexFile]
) -> None:
    assert verify(mirror, max_age=DAY).counts["files_checked"] == 0
    mirror.query("UPDATE files SET proven_at = proven_at - ?", 2 * DAY)
    flip(mirror.path(held[0]))
    assert verify(mirror, max_age=DAY).counts["files_checked"] == 4
    result = verify(mirror, max_age=DAY)
    assert result.counts["files_checked"] == 1, "what was wrong does not count as seen"
    assert set(reasons(result.failures)) == {held[0].filename}


def test_max_duration_stops_and_the_next_run_goes_on_from_there(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that moves a second each time it is looked at."""
    offer(simulator, "six", *(f"{n}.0" for n in range(12)))
    mirror.sync()
    mirror.query("UPDATE files SET proven_at = 0")
    (mirror.root / "packages" / "stranger").write_bytes(b"")

    def clock(seconds: float) -> Callable[[], bool]:
        ticks = iter(range(1, 10**6))
        return lambda: next(ticks) >= seconds

    monkeypatch.setattr(recheck_module, "_clock", clock)
    checked, runs = 0, 0
    while checked < 12:
        result = verify(mirror, max_age=DAY, max_duration=5)
        assert 0 < result.counts["files_checked"] <= 5
        assert result.failures == [] or checked + result.counts["files_checked"] == 12
        checked += result.counts["files_checked"]
        runs += 1
    assert (checked, runs) == (12, 3)
    assert mirror.query("SELECT count(*) AS n FROM files WHERE proven_at = 0")[0]["n"] == 0


def test_the_largest_come_first(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, padding in enumerate([10, 2_000_000, 500, 17_000_000, 3_000_000]):
        made = make_sdist("six", f"{number}.0", padding=padding)
        simulator.add_file("six", *made)
    mirror.sync()
    order: list[str] = []
    read = Readers.run

    def recorded(pool: Readers, jobs: Iterable[Check]) -> Iterator[Checked]:
        jobs = list(jobs)
        order.extend(job.filename for job in jobs)
        return read(pool, jobs)

    monkeypatch.setattr(Readers, "run", recorded)
    verify(mirror)
    assert [name[4] for name in order] == ["3", "1", "4", "0", "2"]


def test_all_rows_are_read_where_there_are_more_than_a_page_of_them(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(simulator, "six", *(f"{n}.0" for n in range(7)))
    mirror.sync()
    monkeypatch.setattr(recheck_module, "_PAGE", 2)
    monkeypatch.setattr(recheck_module, "_COMMIT", 3)
    assert verify(mirror).counts["files_checked"] == 7


@pytest.mark.thorough
def test_what_is_under_way_does_not_grow_with_the_mirror(
    mirror: Mirror, held: list[IndexFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are read a page at a time, and no more of them than the workers are kept busy with."""
    names = [c.name for c in files.columns if c.name not in ("id", "filename")]
    mirror.query(
        f"INSERT INTO files (filename, {','.join(names)}) WITH RECURSIVE n(i) AS (SELECT 1 UNION "
        f"ALL SELECT i + 1 FROM n WHERE i < 3000) SELECT 'six-' || i || '.zip', {','.join(names)} "
        "FROM files, n WHERE filename = 'six-2.0.tar.gz'"
    )
    monkeypatch.setattr(recheck_module, "_PAGE", 50)
    held_pages = recheck_module.files.held
    pages: list[int] = []

    def counted(*arguments: Any) -> Any:
        pages.append(len(held_pages(*arguments)))
        return held_pages(*arguments)

    monkeypatch.setattr(recheck_module.files, "held", counted)
    read = Readers.run
    peak = 0

    def watched(pool: Readers, jobs: Iterable[Check]) -> Iterator[Checked]:
        under_way = 0

        def taken() -> Iterator[Check]:
            nonlocal under_way, peak
            for job in jobs:
                under_way += 1
                peak = max(peak, under_way)
                yield job

        for result in read(pool, taken()):
            under_way -= 1
            yield result

    monkeypatch.setattr(Readers, "run", watched)
    result = verify(mirror)
    assert result.counts["files_checked"] == 3004
    assert sum(pages) == 3004 and max(pages) == 50
    assert peak <= 160 * mirror.config.processes


# Machine
