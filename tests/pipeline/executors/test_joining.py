"""A worker of its own joins a run that is under way, or refuses; here in the run's process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pypimirror.catalog.claims import ClaimLostError
from pypimirror.catalog.database import SCHEMA_REVISION, Catalog, CatalogError
from pypimirror.catalog.queries import runs
from pypimirror.catalog.queries.work import workers
from pypimirror.catalog.states import COMPLETED, SHARD
from pypimirror.config.settings import Config, ConfigError, load
from pypimirror.domain.model import Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.context.reporter import LogReporter
from pypimirror.pipeline.executors import joining
from pypimirror.pipeline.executors.joining import RunOverError
from pypimirror.pipeline.executors.loop import Call, Loop, WorkOff
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from tests.mirror import Mirror, offer
from tests.simulator import Simulator


@contextmanager
def join(run: Run, config: Config, name: str | None = None) -> Iterator[tuple[Run, Loop]]:
    """Join a run with another configuration."""
    with joining.join(
        config,
        name or run.name,
        executor=SHARD,
        worker="7",
        agreed=joining.told(run),
        reporter=LogReporter(),
    ) as joined:
        yield joined


def sync(mirror: Mirror, work: Callable[[Run], None]) -> Summary:
    """Sync; `work` is done in place of the workers."""

    @contextmanager
    def executor(call: Call) -> Iterator[WorkOff]:
        def work_off(run: Run, stages: Sequence[Stage], number: int, small_ends: bool) -> int:
            work(run)
            return number

        yield work_off

    return mirror.sync(work=lambda run: sequence.sync(run, executor=executor))


def test_it_works_for_the_run_and_is_recorded(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")

    def work(run: Run) -> None:
        with join(run, mirror.config) as (joined, loop):
            assert not joining.is_over(mirror.config, run.name)
            assert (joined.id, joined.name, joined.now) == (run.id, run.name, run.now)
            assert loop.workspace.staging != run.workspace.staging
            loop.work_off(joined, sequence.perform, tuple(Stage), 1, small_ends=True)

    assert sync(mirror, work).state == COMPLETED
    assert mirror.files("six") == ["six-1.0-py3-none-any.whl"]
    assert mirror.projects == ["idna", "six"]
    (row,) = mirror.query("SELECT * FROM workers")
    assert (row["executor"], row["name"], row["state"]) == (SHARD, "7", COMPLETED)
    assert row["projects"] == 2


def refusal(mirror: Mirror, config: Callable[[], Config], error: type[Exception]) -> str:
    """What a worker with this configuration says, in the middle of a run."""
    said = []

    def work(run: Run) -> None:
        before = mirror.query("SELECT count(*) FROM workers")
        with pytest.raises(error) as caught, join(run, config()):
            pass
        said.append(str(caught.value))
        assert [*before[0]] == [*mirror.query("SELECT count(*) FROM workers")[0]]

    sync(mirror, work)
    return said[0]


@pytest.fixture
def one(mirror: Mirror, simulator: Simulator) -> Mirror:
    offer(simulator, "six", "1.0")
    return mirror


def elsewhere(mirror: Mirror, base: Path, **sections: dict[str, Any]) -> Config:
    """The configuration of another machine, which has the same catalog."""
    other = Mirror(base, *mirror.simulators, **{**mirror.sections, **sections})
    other.configure(mirror={"catalog": mirror.catalog_url})
    return load(other.file)


def test_the_mirror_root_may_have_another_path(one: Mirror, tmp_path: Path) -> None:
    config = elsewhere(one, tmp_path / "far")
    one.root.mkdir(exist_ok=True)
    config.directory.symlink_to(one.root)

    def work(run: Run) -> None:
        with join(run, config) as (joined, loop):
            loop.work_off(joined, sequence.perform, tuple(Stage), 1, small_ends=True)

    assert sync(one, work).state == COMPLETED


def test_a_directory_that_is_not_mounted_is_refused(one: Mirror, tmp_path: Path) -> None:
    """It is empty. And one of another mirror, too."""
    config = elsewhere(one, tmp_path / "far")
    said = refusal(one, lambda: config, CatalogError)
    assert f"a run works on another directory than {config.directory}" in said
    assert not config.directory.exists()
    other = Mirror(tmp_path / "far", *one.simulators)
    other.sync()
    config = elsewhere(one, tmp_path / "far")
    assert "another directory" in refusal(one, lambda: config, CatalogError)


def test_another_selection_is_refused(one: Mirror, tmp_path: Path) -> None:
    def config() -> Config:
        found = elsewhere(one, tmp_path / "far", select={"projects": ["six"]})
        found.directory.symlink_to(one.root)
        return found

    assert "select, selection: not as in the configuration of the run" in refusal(
        one, config, ConfigError
    )


def test_another_version_is_refused(one: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "__version__", "9.9")
    assert "here is 9.9: install the same version" in refusal(one, lambda: one.config, ConfigError)


def test_a_catalog_of_another_version_stays_as_it_is(one: Mirror) -> None:
    def work(run: Run) -> None:
        with run.catalog.write() as connection:
            connection.run("UPDATE alembic_version SET version_num = '0012'")
        differs = pytest.raises(CatalogError, match="has schema 0012, but this version needs")
        with differs, join(run, one.config):
            pass
        with run.catalog.write() as connection:
            newest = f"UPDATE alembic_version SET version_num = '{SCHEMA_REVISION}'"
            connection.run(newest)

    sync(one, work)


def test_a_run_that_is_over_or_unknown_is_told_apart(one: Mirror) -> None:
    summary = one.sync()
    names = {"": ConfigError, "last": ConfigError, "20200101-000000-abcdef": ConfigError}
    names[summary.run] = RunOverError
    names[summary.run[:-1]] = ConfigError  # it is the whole name that counts
    for name, error in names.items():
        with pytest.raises(error) as caught:
            joining.join(
                one.config, name, executor=SHARD, worker="1", agreed={}, reporter=LogReporter()
            ).__enter__()
        assert name in str(caught.value)


def test_once_the_run_is_closed_it_writes_nothing(one: Mirror) -> None:
    """Neither to the catalog nor to the mirror root."""

    def work(run: Run) -> None:
        with pytest.raises(ClaimLostError), join(run, one.config) as (joined, loop):
            with closing(Catalog.open(one.catalog_url)) as catalog, catalog.write() as connection:
                runs.close_crashed(connection)
                (row,) = workers.of_run(connection, run.id)
                assert row.state == "lost"
            assert joining.is_over(one.config, run.name)
            loop.work_off(joined, sequence.perform, tuple(Stage), 1, small_ends=True)
        with pytest.raises(RunOverError), join(run, one.config):
            pass

    sync(one, work)
    assert not one.has_page("six")
