"""Who may work on a mirror: two hosts on one catalog, dead hosts, and directories mixed up."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypimirror.catalog.database import CatalogError
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.reporter import LogReporter
from pypimirror.pipeline.lifecycle import sync as run_sync
from pypimirror.pipeline.preview.plan import plan
from pypimirror.pipeline.summary import Summary
from pypimirror.storage import generation
from pypimirror.storage.storage import MakeStorage
from pypimirror.storage.workspace import Workspace
from pypimirror.system.disk_errors import StorageError
from tests.databases import Databases
from tests.mirror import Mirror, offer
from tests.simulator import Simulator
from tests.storages import MemoryStorage

REPOSITORY = str(Path(__file__).parents[2])


class Hosts:
    """Machines with one catalog and one mirror root, on which no lock reaches another machine."""

    def __init__(self, base: Path, simulator: Simulator, catalog: str) -> None:
        self.base, self.simulator, self.catalog = base, simulator, catalog
        self.mirror = self.mount("one")
        self.processes: list[subprocess.Popen[str]] = []

    def mount(self, host: str) -> Mirror:
        """The mirror root as a host sees it: the same files, and a lock of its own."""
        mirror = Mirror(self.base / host, self.simulator, mirror={"catalog": self.catalog})
        if host != "one":
            private = mirror.root / ".pypimirror"
            private.mkdir(parents=True)
            for name in ("simple", "packages", ".pypimirror/staging", ".pypimirror/quarantine"):
                (mirror.root / name).symlink_to(self.mirror.root / name)
            shutil.copy(self.mirror.root / ".pypimirror" / "identity", private)
        return mirror

    def start(self, host: str, *command: str, heartbeat: float = 10) -> subprocess.Popen[str]:
        """Start a command on a host."""
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.pipeline.as_host", host, str(heartbeat), *command],
            cwd=self.base / host,
            env={**os.environ, "PYTHONPATH": REPOSITORY},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.processes.append(process)
        return process

    def sync(self, host: str) -> tuple[int, dict[str, object]]:
        """Sync on a host; give exit code and document."""
        process = self.start(host, "sync", "--inline", "--json", "--quiet")
        out, _ = process.communicate(timeout=100)
        return process.returncode, json.loads(out)

    def states(self) -> list[str]:
        """How the runs ended, in order."""
        return [row["state"] for row in self.mirror.query("SELECT state FROM runs ORDER BY id")]


@pytest.fixture
def hosts(tmp_path: Path, simulator: Simulator, postgresql: Databases) -> Iterator[Hosts]:
    """Hosts with a mirror that holds one file."""
    offer(simulator, "six", "1.0")
    made = Hosts(tmp_path, simulator, postgresql.migrated())
    made.mirror.sync()
    made.mount("two")
    yield made
    for process in made.processes:
        process.kill()
        process.communicate()


@pytest.mark.thorough
def test_of_two_hosts_that_sync_at_once_one_works_and_one_ends_with_exit_4(
    hosts: Hosts, simulator: Simulator
) -> None:
    (new,) = offer(simulator, "idna", "1.0")
    hold = simulator.hold(new)
    first = hosts.start("one", "sync", "--inline", "--json")
    hold.wait_reached()
    code, document = hosts.sync("two")
    assert code == 4
    assert f"process {first.pid} on one" in document["error"]["message"]  # type: ignore[index]
    assert hosts.states() == ["completed", "running"]
    hold.release()
    out, _ = first.communicate(timeout=100)
    assert (first.returncode, json.loads(out)["state"]) == (0, "completed")
    code, document = hosts.sync("two")
    assert (code, document["state"]) == (0, "completed")
    assert simulator.downloads(new.filename) == 1
    hosts.mirror.check()


@pytest.mark.thorough
def test_a_host_syncs_while_another_one_plans_and_the_two_do_not_mix(
    hosts: Hosts, simulator: Simulator
) -> None:
    (new,) = offer(simulator, "idna", "1.0")
    hold = simulator.hold("/simple/idna/", nth=1)
    planning = hosts.start("one", "sync", "--dry-run", "--json")
    hold.wait_reached()
    code, document = hosts.sync("two")
    assert (code, document["state"]) == (0, "completed")
    hold.release()
    out, _ = planning.communicate(timeout=100)
    assert planning.returncode == 0, out
    assert [entry["project"] for entry in json.loads(out)["fetch"]] == ["idna"]
    assert hosts.states() == ["completed", "completed"]  # a dry run is not recorded
    assert simulator.downloads(new.filename) == 1
    hosts.mirror.check()


@pytest.mark.thorough
def test_a_dead_host_is_waited_for_and_its_run_is_closed_with_what_it_had_done(
    hosts: Hosts, simulator: Simulator
) -> None:
    offer(simulator, "attrs", "1.0")
    (late,) = offer(simulator, "zope", "1.0")
    hold = simulator.hold(late)
    first = hosts.start("one", "sync", "--inline", "--json")
    hold.wait_reached()
    first.kill()
    first.wait(30)
    fetched = hosts.mirror.query("SELECT filename FROM files WHERE state IN (1, 2, 3)")
    hold.release()
    code, document = hosts.sync("two")
    assert code == 4
    message = document["error"]["message"]  # type: ignore[index]
    assert "If it is dead already, try again in" in message
    hosts.mirror.query("UPDATE leases SET expires_at = 0")  # time passes
    simulator.forget()
    code, document = hosts.sync("two")
    assert (code, document["state"]) == (0, "completed")
    for row in fetched:
        assert simulator.downloads(row["filename"]) == 0
    assert hosts.states() == ["completed", "crashed", "completed"]
    crashed = hosts.mirror.query("SELECT * FROM runs WHERE state = 'crashed'")[0]
    assert f"process {first.pid} on one" in crashed["message"]
    assert crashed["boot"] == "one"
    stages = hosts.mirror.query("SELECT counts FROM stages WHERE run_id = ?", crashed["id"])
    found = sum(json.loads(s["counts"] or "{}").get("files_found", 0) for s in stages)
    assert found == 2
    assert json.loads(crashed["counts"])["files_found"] == found
    hosts.mirror.check()


@pytest.mark.thorough
def test_a_host_that_was_taken_for_dead_stops_and_spoils_nothing(
    hosts: Hosts, simulator: Simulator
) -> None:
    (new,) = offer(simulator, "idna", "1.0")
    hold = simulator.hold(new, nth=1)
    first = hosts.start("one", "sync", "--inline", "--json", heartbeat=0.05)
    hold.wait_reached()
    # It renews its lease until the very moment that another host has taken it over.
    hosts.mirror.query(
        "UPDATE leases SET holder = '"
        '{"machine":{"host":"two","id":"","boot":"","namespace":""},'
        '"pid":1,"started":1,"token":"t"}\', expires_at = 0'
    )
    out, _ = first.communicate(timeout=100)
    document = json.loads(out)
    assert (first.returncode, document["state"]) == (3, "failed")
    assert "another run has taken the mirror over" in document["failures"][0]["message"]
    assert document["failures"][0]["reason"] == "lock"
    assert hosts.states() == ["completed", "failed"]
    hold.release()
    assert hosts.sync("two")[0] == 0
    hosts.mirror.check()


def test_two_directories_do_not_share_a_catalog(
    tmp_path: Path, simulator: Simulator, postgresql: Databases
) -> None:
    offer(simulator, "six", "1.0")
    catalog = {"catalog": postgresql.migrated()}
    one = Mirror(tmp_path / "one", simulator, mirror=catalog)
    other = Mirror(tmp_path / "other", simulator, mirror=catalog)
    one.sync()
    for attempt in (other.sync, lambda: plan(other.config, (), LogReporter())):
        with pytest.raises(CatalogError, match=f"another directory than {other.root}.*its own"):
            attempt()
    assert other.projects == []
    assert one.sync().state == "completed"


def test_two_directories_do_not_share_an_sqlite_file_either(
    tmp_path: Path, simulator: Simulator
) -> None:
    catalog = {"catalog": f"sqlite:///{tmp_path / 'shared.sqlite'}"}
    one = Mirror(tmp_path / "one", simulator, mirror=catalog)
    other = Mirror(tmp_path / "other", simulator, mirror=catalog)
    one.sync()
    with pytest.raises(CatalogError, match="belongs to another directory"):
        other.sync()


def test_a_directory_that_was_restored_gets_its_catalog_back_as_the_message_says(
    tmp_path: Path, simulator: Simulator, postgresql: Databases
) -> None:
    offer(simulator, "six", "1.0")
    mirror = Mirror(tmp_path, simulator, mirror={"catalog": postgresql.migrated()})
    mirror.sync()
    shutil.rmtree(mirror.root / ".pypimirror")
    with pytest.raises(CatalogError, match="moved or restored") as caught:
        mirror.sync()
    words = str(caught.value).split()
    identity, file = words[words.index("write") + 1], words[words.index("to", 10) + 1]
    file = str(caught.value).partition(f"write {identity} to ")[2].partition(" and run")[0]
    Path(file).write_text(identity)
    assert mirror.sync().state == "completed"


def test_a_new_catalog_takes_the_directory_as_it_is(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    mirror.lose_catalog()
    assert mirror.sync().state == "completed"
    assert mirror.sync().state == "completed"


# A storage that is no directory


def kept_in(storage: MemoryStorage) -> MakeStorage:
    """Makes this storage, on whatever machine the run is."""
    return lambda workspace, durability: storage


def sync_into(storage: MemoryStorage, mirror: Mirror) -> Summary:
    """Sync a mirror whose files are in a storage that is no directory."""
    make = kept_in(storage)
    return run_sync(mirror.config, (), sequence.sync, trigger="test", make_storage=make)


@pytest.fixture
def machines(tmp_path: Path, simulator: Simulator) -> list[Mirror]:
    """Two machines with directories of their own, on one catalog; one file is offered."""
    offer(simulator, "six", "1.0")
    shared = {"catalog": f"sqlite:///{tmp_path / 'shared.sqlite'}"}
    return [Mirror(tmp_path / name, simulator, mirror=shared) for name in ("one", "two")]


def test_a_storage_belongs_to_its_catalog_from_whatever_machine_a_run_comes(
    machines: list[Mirror], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = machines
    storage = MemoryStorage(Workspace(one.root))
    assert sync_into(storage, one).state == "completed"
    assert sync_into(storage, two).counts["projects_changed"] == 0
    assert "checks that every file" not in caplog.text
    with pytest.raises(CatalogError, match=r"another storage than memory\. .*memory/\.pypimirror"):
        sync_into(MemoryStorage(Workspace(two.root)), two)


def test_a_catalog_inside_the_workspace_is_bound_to_the_storage_all_the_same(
    mirror: Mirror, simulator: Simulator
) -> None:
    """The workspace of one machine may be given another bucket."""
    offer(simulator, "six", "1.0")
    assert sync_into(MemoryStorage(Workspace(mirror.root)), mirror).state == "completed"
    with pytest.raises(CatalogError, match="belongs to another storage"):
        sync_into(MemoryStorage(Workspace(mirror.root)), mirror)


def test_a_storage_that_another_catalog_used_is_looked_through(
    machines: list[Mirror], simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    one, _ = machines
    storage = MemoryStorage(Workspace(one.root))
    sync_into(storage, one)
    storage.write_note(generation.NOTE, "9-other\nsqlite:///elsewhere\n")
    key = "packages/six/six-1.0-py3-none-any.whl"
    storage.remove(key)
    assert sync_into(storage, one).state == "completed"
    assert "this storage was last used with the catalog sqlite:///elsewhere" in caplog.text
    assert "1 file missing" in caplog.text
    assert storage.has(key)


def test_a_storage_that_does_not_answer_is_an_error_and_no_doubt(
    machines: list[Mirror], caplog: pytest.LogCaptureFixture
) -> None:
    """A doubt costs a question for each file: of millions, after a short break of the network."""
    one, _ = machines
    storage = MemoryStorage(Workspace(one.root))
    sync_into(storage, one)

    class Away(MemoryStorage):
        def note(self, name: str) -> str | None:
            if name == generation.NOTE:
                raise StorageError("memory", TimeoutError(110, "timed out"))
            return storage.note(name)

    with pytest.raises(StorageError, match="timed out"):
        sync_into(Away(Workspace(one.root)), one)
    assert sync_into(storage, one).state == "completed"
    assert "checks that every file" not in caplog.text
