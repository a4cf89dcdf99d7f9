"""What goes wrong on this machine: it is named, and what is published stays sound."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy.exc import OperationalError

from pypimirror.catalog.database import CatalogError
from pypimirror.catalog.queries import runs
from pypimirror.domain.errors import LockedError
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.context.pools import Pools
from pypimirror.pipeline.download import download
from pypimirror.pipeline.run import Run
from pypimirror.storage import lock
from pypimirror.storage.posix import PosixStorage
from pypimirror.storage.workspace import Workspace
from pypimirror.system import regular
from pypimirror.system.disk_errors import StorageError
from pypimirror.verify.protocol import Check, Checked
from tests.commits import watch_commits
from tests.corpus.build import make_wheel
from tests.mirror import Mirror, offer, reasons
from tests.pools import inline
from tests.simulator import IndexFile, Simulator


@pytest.fixture
def held(mirror: Mirror, simulator: Simulator) -> IndexFile:
    """A mirror that holds one file, and has something to do."""
    (file,) = offer(simulator, "six", "1.0")
    mirror.sync()
    offer(simulator, "six", "1.1")
    offer(simulator, "idna", "1.0")
    return file


def fail_at(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, part: str, number: int
) -> None:
    """Let an operating-system call on paths with `part` in them fail."""
    original = getattr(module, name)

    def broken(path: Any, *arguments: Any, **more: Any) -> Any:
        if any(part in str(each) for each in (path, *arguments)):
            raise OSError(number, os.strerror(number), str(path))
        return original(path, *arguments, **more)

    monkeypatch.setattr(module, name, broken)


@pytest.mark.parametrize(
    ("module", "name", "part"),
    [
        (os, "replace", "/packages/"),
        (os, "replace", "/simple/six/"),
        (os, "replace", "/simple/index"),
        (regular, "create", "/.pypimirror/staging/page."),
        (regular, "open_file", "list.sim0"),
    ],
    ids=["packages", "page", "root", "page-staging", "list"],
)
def test_a_full_disk_ends_the_run_with_its_name_and_a_sound_mirror(
    mirror: Mirror,
    held: IndexFile,
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    part: str,
) -> None:
    with monkeypatch.context() as patch:
        fail_at(patch, module, name, part, errno.ENOSPC)
        result = mirror.sync(sound=False)
    assert result.state == "failed"
    assert [problem.reason for problem in result.failures] == [Reason.DISK]
    assert os.strerror(errno.ENOSPC) in result.message
    assert str(mirror.root) in result.message
    mirror.check(agree=False)
    assert held.filename in mirror.files("six")
    assert mirror.sync().state == "completed"
    assert len(mirror.files("six")) == 2


def before_stage(stage: Stage, action: Callable[[], None]) -> Callable[[Run], None]:
    """A sync that does something right before each batch's `stage`."""

    def call(run: Run, entered: Stage, batch: Batch) -> None:
        if entered is stage and batch.projects:
            action()
        sequence.perform(run, entered, batch)

    return lambda run: sequence.sync(run, call)


def test_a_worker_that_cannot_write_is_named_with_its_stage(
    mirror: Mirror, held: IndexFile
) -> None:
    staging = mirror.root / ".pypimirror" / "staging"

    def block() -> None:
        shutil.rmtree(staging)
        staging.write_text("in the way")

    result = mirror.sync(work=before_stage(Stage.DOWNLOAD, block))
    assert result.state == "failed"
    assert {problem.reason for problem in result.failures} == {Reason.DISK}
    assert set(result.stages) == {"download"}
    staging.unlink()
    assert mirror.sync().state == "completed"


def test_the_stage_of_a_failure_is_the_one_that_failed(
    mirror: Mirror, held: IndexFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail_at(patch, os, "replace", "/packages/", errno.EIO)
        result = mirror.sync(sound=False)
    assert set(result.stages) == {"verify"}


@pytest.mark.parametrize("place", ["mirror", "mirror/.pypimirror", "mirror/simple"])
def test_a_directory_that_cannot_be_made_is_named(mirror: Mirror, place: str) -> None:
    path = mirror.base / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way")
    with pytest.raises(StorageError, match=str(path)):
        mirror.sync(sound=False)


def test_a_lock_that_cannot_be_opened_is_named(mirror: Mirror, held: IndexFile) -> None:
    path = mirror.root / ".pypimirror" / "lock"
    path.unlink()
    path.mkdir()
    with pytest.raises(lock.LockError, match=str(path)):
        mirror.sync()


def test_a_directory_deleted_under_a_run_is_named(
    mirror: Mirror, simulator: Simulator, held: IndexFile
) -> None:
    def delete() -> None:
        shutil.rmtree(mirror.root / "packages")
        (mirror.root / "packages").write_text("in the way")

    work = before_stage(Stage.VERIFY, delete)
    result = mirror.sync(work=work, sound=False)
    assert result.state == "failed"
    assert result.failures[0].reason is Reason.DISK


def test_another_run_is_locked_out_before_it_touches_the_catalog(
    mirror: Mirror, held: IndexFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration must not change the schema under a run of another version."""
    from pypimirror.catalog.database import Catalog

    monkeypatch.setattr(Catalog, "open", lambda url: pytest.fail("opened"))
    with lock.hold(mirror.root / ".pypimirror" / "lock"), pytest.raises(LockedError):
        mirror.sync()


def test_a_catalog_that_fails_during_a_run_is_named(
    mirror: Mirror, held: IndexFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("disk I/O error"))

    with monkeypatch.context() as patch:
        patch.setattr("pypimirror.catalog.queries.files.add", broken)
        result = mirror.sync()
    assert result.state == "failed"
    assert [problem.reason for problem in result.failures] == [Reason.CATALOG]
    assert "disk I/O error" in result.message
    assert mirror.sync().state == "completed"


@pytest.mark.parametrize("function", ["start", "end"])
def test_a_catalog_that_cannot_record_a_run_is_an_error_of_its_own(
    mirror: Mirror, held: IndexFile, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OperationalError("INSERT", {}, sqlite3.OperationalError("database is full"))

    monkeypatch.setattr(runs, function, broken)
    with pytest.raises(CatalogError, match="database is full"):
        mirror.sync()


def test_a_catalog_that_was_lost_is_made_anew_over_the_same_tree(
    mirror: Mirror, held: IndexFile
) -> None:
    mirror.sync()
    mirror.lose_catalog()
    assert mirror.sync().state == "completed"
    assert mirror.projects == ["idna", "six"]
    assert len(mirror.files("six")) == 2


def test_a_clock_that_is_set_back_ends_no_run(
    mirror: Mirror, held: IndexFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror.query("UPDATE runs SET started_at = started_at + 1e6, ended_at = ended_at + 1e6")
    held.remove()
    result = mirror.sync()
    assert result.state == "completed"
    assert result.seconds >= 0


def test_a_fault_of_the_program_is_recorded_and_raised(mirror: Mirror, held: IndexFile) -> None:
    def work(run: Run) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        mirror.sync(work=work)
    last = mirror.query("SELECT state, message FROM runs ORDER BY id DESC")[0]
    assert tuple(last) == ("failed", "ended by an error of the program")


def test_a_run_that_is_interrupted_is_recorded_as_cancelled(
    mirror: Mirror, held: IndexFile
) -> None:
    def work(run: Run) -> None:
        raise KeyboardInterrupt

    assert mirror.sync(work=work).state == "cancelled"
    assert mirror.sync().state == "completed"


def test_what_dead_runs_left_open_is_closed(mirror: Mirror, held: IndexFile) -> None:
    mirror.query("UPDATE runs SET state = 'running', ended_at = NULL")
    mirror.query("UPDATE stages SET state = 'running', ended_at = NULL")
    mirror.sync()
    assert mirror.query("SELECT state FROM runs ORDER BY id")[0]["state"] == "crashed"
    states = {row["state"] for row in mirror.query("SELECT state FROM stages WHERE run_id = 1")}
    assert states == {"crashed"}


def test_steps_come_in_the_order_that_readers_need(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 5. In: bytes, page, root index. Out: root index, page, bytes."""
    steps: list[tuple[str, str]] = []

    class Watched(PosixStorage):
        def __init__(self, workspace: Workspace, **settings: Any) -> None:
            super().__init__(workspace, lambda what, path: steps.append((what, path)), **settings)

    monkeypatch.setattr("pypimirror.storage.posix.PosixStorage", Watched)
    (gone,) = offer(simulator, "six", "1.0")
    mirror.sync()

    def position(what: str, start: str) -> int:
        return next(n for n, (w, p) in enumerate(steps) if w == what and p.startswith(start))

    assert (
        position("flush", "")
        < position("place", "packages/six/")
        < position("place", "simple/six/")
        < position("place", "simple/index")
    )
    places = [n for n, (what, _) in enumerate(steps) if what == "place"]
    flushes = [n for n, (what, _) in enumerate(steps) if what == "flush"]
    root, page = position("place", "simple/index"), position("place", "simple/six/")
    byte = position("place", "packages/six/")
    # Each step is durable before the next begins.
    assert any(byte < n < page for n in flushes)
    assert any(page < n < root for n in flushes)
    assert max(flushes) > max(places)

    steps.clear()
    offer(simulator, "idna", "1.0")
    simulator.delete_project("six")
    mirror.sync()
    root, page = position("place", "simple/index"), position("remove", "simple/six/")
    byte = position("remove", f"packages/six/{gone.filename}")
    assert root < page < byte
    flushes = [n for n, (what, _) in enumerate(steps) if what == "flush"]
    assert any(root < n < page for n in flushes)
    assert any(page < n < byte for n in flushes)


def test_the_catalog_never_says_what_a_power_cut_could_undo(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 3: whatever was placed is flushed before the next commit."""
    unsaid: list[str] = []

    def step(what: str, path: str) -> None:
        if what == "place":
            unsaid.append(path)
        elif what == "flush":
            unsaid.clear()

    class Watched(PosixStorage):
        def __init__(self, workspace: Workspace, **settings: Any) -> None:
            super().__init__(workspace, step, **settings)

    commits = []

    def commit() -> None:
        commits.append(list(unsaid))

    monkeypatch.setattr("pypimirror.storage.posix.PosixStorage", Watched)
    watch_commits(commit, monkeypatch.setattr)
    offer(simulator, "six", "1.0")
    mirror.sync()
    offer(simulator, "idna", "1.0", "1.1")
    simulator.delete_project("six")
    mirror.sync()
    assert commits and not any(commits)


def test_a_host_that_is_down_is_not_asked_for_ever_and_costs_the_others_nothing(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_ENOUGH", 3)
    monkeypatch.setattr(download, "_COMMIT", 1)
    (own,) = offer(simulator, "six", "1.0")
    with Simulator(host="127.0.0.2") as other:
        dead = other.host
    for number in range(60):
        offer(simulator, "idna", f"{number}.0", url=f"http://{dead}/idna-{number}.whl")
    mirror.upstreams[0]["hosts"] = [dead]
    mirror.configure(download={"connections": 1})
    result = mirror.sync()
    assert result.state == "incomplete"
    assert mirror.files("six") == [own.filename]
    waiting = mirror.query("SELECT count(*) FROM files WHERE state = 0")[0][0]
    assert 0 < waiting < 60
    (problem,) = [problem for problem in result.failures if not problem.project]
    assert f"from {dead}, so {waiting} more wait" in problem.message


def test_a_file_that_kills_its_verification_worker_costs_the_others_nothing(
    mirror: Mirror, simulator: Simulator, dying_workers: Callable[[], AbstractContextManager[None]]
) -> None:
    # Weak digests: the archives must be read to their end.
    weak = {"digests": ("md5",)}
    deadly = [file for n in "ab" for file in offer(simulator, f"deadly-{n}", "1.0", **weak)]
    others = offer(simulator, "zope", *(f"{n}.0" for n in range(12)), **weak)
    with dying_workers():
        result = mirror.sync()
    assert reasons(result.failures) == dict.fromkeys((f.filename for f in deadly), "worker")
    assert all(mirror.holds(file) for file in others)
    assert mirror.sync().state == "completed"
    assert all(mirror.holds(file) for file in deadly)


def test_a_wheel_is_opened_again_only_where_it_is_unusual(
    mirror: Mirror, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The download worker takes the core metadata of all others, as their bytes come in."""
    (usual,) = offer(simulator, "six", "1.0")
    filename, content = make_wheel("zope", "1.0")
    commented = content[:-2] + (5).to_bytes(2, "little") + b"hello"
    unusual = simulator.add_file("zope", filename, commented)
    opened: list[str] = []

    def watched(*about: Any) -> Pools:
        made = inline(*about)

        def run(jobs: Iterable[Check]) -> Iterator[Checked]:
            given = list(jobs)
            opened.extend(job.filename for job in given)
            return made.checker.run(given)

        return replace(made, checker=SimpleNamespace(run=run, close=made.checker.close))

    assert mirror.sync(make_pools=watched).state == "completed"
    assert opened == [filename]
    for file in (usual, unusual):
        path = mirror.path(file)
        assert b"Metadata-Version" in path.with_name(f"{path.name}.metadata").read_bytes()


def test_a_file_that_fails_in_two_stages_is_one_failed_file(mirror: Mirror) -> None:
    def work(run: Run) -> None:
        for stage in (Stage.DOWNLOAD, Stage.VERIFY):
            run.ledger.failed(stage, [Problem(Reason.DISK, "bad", "six", "six-1.0.zip")])
        run.ledger.failed(Stage.VERIFY, [Problem(Reason.DISK, "bad", "idna", "six-1.0.zip")])

    result = mirror.sync(work=work)
    assert (len(result.failures), result.counts["files_failed"]) == (3, 2)
