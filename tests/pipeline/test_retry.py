"""Running again only what failed, or was not reached, in an earlier run."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from pypimirror.catalog.database import Catalog
from pypimirror.config.settings import ConfigError
from pypimirror.domain.model import Reason, Stage
from pypimirror.pipeline import sequence
from pypimirror.pipeline.audit import audit as rechecking
from pypimirror.pipeline.audit.audit import Options
from pypimirror.pipeline.context.batch import Batch
from pypimirror.pipeline.context.reporter import LogReporter
from pypimirror.pipeline.lifecycle import sync as run_sync
from pypimirror.pipeline.retry import plan
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.summary import Summary
from pypimirror.select.selection import Selection
from tests.mirror import Mirror, offer, reasons
from tests.simulator import IndexFile, Simulator, Status


class Ear(LogReporter):
    """Hears what a retry says it is about to do."""

    def __init__(self) -> None:
        self.said = ""

    def announce(self, message: str) -> None:
        self.said = message


def retry(mirror: Mirror, of: Summary | str) -> tuple[Summary, str]:
    """Retry a run; how that ended, and what was said before."""
    ear = Ear()
    name = of if isinstance(of, str) else of.run
    result = run_sync(
        mirror.config, (), sequence.sync, trigger="test", reporter=ear, retry=name
    )  # fmt: skip
    mirror.check()
    return result, ear.said


def interrupted_at(stage: Stage, number: int) -> Callable[[Run], None]:
    """The work of a sync that is interrupted when a batch comes to a stage."""

    def call(run: Run, current: Stage, batch: Batch) -> None:
        if (current, batch.number) == (stage, number):
            raise KeyboardInterrupt
        sequence.perform(run, current, batch)

    return lambda run: sequence.sync(run, call)


def paths(simulator: Simulator) -> list[str]:
    return sorted(request.path for request in simulator.requests)


@pytest.fixture
def bad(simulator: Simulator) -> list[IndexFile]:
    """Files that cannot be had: two of one project, one of another."""
    files = [*offer(simulator, "six", "1.0", "1.1"), *offer(simulator, "idna", "1.0")]
    for file in files:
        simulator.fault(file, Status(404))
    return files


@pytest.fixture
def first(mirror: Mirror, simulator: Simulator, bad: list[IndexFile]) -> Summary:
    """A run in which they failed, and others did not."""
    offer(simulator, "six", "2.0")
    offer(simulator, "attrs", "1.0")
    result = mirror.sync()
    assert len(result.failures) == 3
    simulator.heal()
    simulator.forget()
    return result


def test_only_the_files_that_failed_are_asked_for_and_that_is_said(
    mirror: Mirror, simulator: Simulator, bad: list[IndexFile], first: Summary
) -> None:
    result, said = retry(mirror, first)
    assert result.state == "completed"
    assert said == f"Retrying 3 files of 2 projects that failed in {first.run}"
    assert [path.rpartition("/")[2] for path in paths(simulator)] == sorted(
        file.filename for file in bad
    )
    assert all(mirror.holds(file) for file in bad)
    (row,) = mirror.query("SELECT retry_of FROM runs WHERE name = ?", result.run)
    assert row["retry_of"] == first.run


def test_what_came_later_to_the_same_projects_is_left_to_a_sync(
    mirror: Mirror, simulator: Simulator, bad: list[IndexFile], first: Summary
) -> None:
    (later,) = offer(simulator, "six", "3.0")
    for file in (later, bad[0]):
        simulator.fault(file, Status(404))
    mirror.sync()
    simulator.forget()
    result, said = retry(mirror, first)
    assert said.startswith("Retrying 1 file of 1 project ")
    assert [path.rpartition("/")[2] for path in paths(simulator)] == [bad[0].filename]
    assert bad[0].filename in {problem.file for problem in result.failures}
    assert mirror.state(later.filename) == "failed"


def test_what_waits_for_its_next_try_is_tried_at_once(mirror: Mirror, simulator: Simulator) -> None:
    (file,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    simulator.fault(file, Status(404))
    mirror.sync()
    mirror.sync()
    last = mirror.sync()
    assert simulator.downloads(file.filename) == 2
    simulator.heal()
    result, said = retry(mirror, last)
    assert said == f"Retrying 1 file of 1 project that failed in {last.run}"
    assert result.state == "completed"
    assert mirror.holds(file)


def test_where_nothing_is_left_there_is_no_run(
    mirror: Mirror, simulator: Simulator, first: Summary
) -> None:
    mirror.sync()
    simulator.forget()
    runs = mirror.query("SELECT count(*) FROM runs")[0][0]
    result, said = retry(mirror, first)
    assert (result.run, result.state, result.failures, said) == ("", "completed", [], "")
    assert first.run in result.message
    assert mirror.query("SELECT count(*) FROM runs")[0][0] == runs
    assert simulator.requests == []


def test_what_another_run_mended_is_not_done_again(
    mirror: Mirror, simulator: Simulator, bad: list[IndexFile], first: Summary
) -> None:
    mirror.sync("six")
    simulator.forget()
    result, said = retry(mirror, first)
    assert said == f"Retrying 1 file of 1 project that failed in {first.run}"
    assert [path.rpartition("/")[2] for path in paths(simulator)] == [bad[2].filename]
    assert result.state == "completed"


def test_a_retry_that_fails_can_be_retried(
    mirror: Mirror, simulator: Simulator, bad: list[IndexFile], first: Summary
) -> None:
    simulator.fault(bad[0], Status(500))
    second, _ = retry(mirror, first)
    assert reasons(second.failures) == {bad[0].filename: Reason.HTTP_STATUS}
    simulator.heal()
    third, said = retry(mirror, second)
    assert said == f"Retrying 1 file of 1 project that failed in {second.run}"
    assert third.state == "completed"
    assert retry(mirror, first)[0].run == ""


def test_pages_that_failed_are_asked_for_again_and_no_others(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    simulator.fault("/simple/six/", Status(500))
    last = mirror.sync()
    assert reasons(last.failures) == {"six": Reason.HTTP_STATUS}
    simulator.heal()
    simulator.forget()
    result, said = retry(mirror, last)
    assert said == f"Retrying the pages of 1 project that failed in {last.run}"
    assert result.state == "completed"
    assert mirror.projects == ["idna", "six"]
    assert simulator.count("/simple/idna/") == simulator.count("/simple/") == 0


def test_a_name_that_nobody_had_is_asked_for_again(mirror: Mirror, simulator: Simulator) -> None:
    mirror.select("six", "idna")
    offer(simulator, "idna", "1.0")
    last = mirror.sync()
    assert reasons(last.failures) == {"six": Reason.MISSING}
    offer(simulator, "six", "1.0")
    result, _ = retry(mirror, last)
    assert result.state == "completed"
    assert mirror.projects == ["idna", "six"]


def test_what_is_refused_is_looked_at_again(mirror: Mirror, simulator: Simulator) -> None:
    (file,) = offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    mirror.sync()
    before = bytes(file.content)
    file.replace(before + b"changed")
    last = mirror.sync()
    assert reasons(last.failures) == {file.filename: Reason.DIGEST_CHANGED}
    again, _ = retry(mirror, last)
    assert reasons(again.failures) == {file.filename: Reason.DIGEST_CHANGED}
    file.replace(before)
    assert retry(mirror, again)[0].state == "completed"


def test_a_list_that_could_not_be_read_makes_it_a_whole_sync(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    simulator.fault("/simple/", Status(500))
    last = mirror.sync()
    assert last.state == "failed"
    simulator.heal()
    result, said = retry(mirror, last)
    assert said == f"Retrying all of {last.run}, which did not find out what has changed"
    assert result.state == "completed"
    assert mirror.projects == ["six"]


def test_a_run_that_was_interrupted_is_finished_without_asking_for_pages_again(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    last = mirror.sync(work=interrupted_at(Stage.DOWNLOAD, 1))
    assert last.state == "cancelled"
    simulator.forget()
    result, said = retry(mirror, last)
    assert said == f"Retrying 2 projects that {last.run} did not finish"
    assert result.state == "completed"
    assert mirror.projects == ["idna", "six"]
    assert not [path for path in paths(simulator) if path.startswith("/simple/")]


def test_what_failed_in_a_run_that_was_interrupted_is_done_with_the_rest(
    mirror: Mirror, simulator: Simulator
) -> None:
    bad, _ = offer(simulator, "six", "1.0", "1.1")
    offer(simulator, "idna", "1.0")
    simulator.fault(bad, Status(404))
    last = mirror.sync(work=interrupted_at(Stage.PUBLISH, 1))
    simulator.heal()
    result, said = retry(mirror, last)
    assert said == (
        f"Retrying 1 file of 1 project that failed in {last.run}, and 2 projects not finished"
    )
    assert result.state == "completed"
    assert mirror.projects == ["idna", "six"]


def test_a_run_that_was_interrupted_while_it_looked_is_repeated_as_it_was(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    offer(simulator, "idna", "1.0")
    last = mirror.sync("six", work=interrupted_at(Stage.DISCOVER, 0))
    result, said = retry(mirror, last)
    assert said.startswith(f"Retrying all of {last.run}")
    assert result.state == "completed"
    assert mirror.projects == ["six"]
    (row,) = mirror.query("SELECT arguments FROM runs WHERE name = ?", result.run)
    assert json.loads(row["arguments"]) == ["six"]


def test_a_run_that_was_killed_is_one_to_retry(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    last = mirror.sync(work=interrupted_at(Stage.DOWNLOAD, 1))
    mirror.query("UPDATE runs SET state = 'running', ended_at = NULL")
    result, said = retry(mirror, last)
    assert said == f"Retrying 1 project that {last.run} did not finish"
    assert result.state == "completed"
    assert mirror.query("SELECT state FROM runs ORDER BY id")[0]["state"] == "crashed"


def test_what_is_selected_no_more_is_not_retried(
    mirror: Mirror, simulator: Simulator, bad: list[IndexFile], first: Summary
) -> None:
    mirror.select("idna")
    _, said = retry(mirror, first)
    assert said == f"Retrying 1 file of 1 project that failed in {first.run}"
    mirror.select("attrs")
    assert retry(mirror, first)[0].run == ""


def test_an_unknown_run_is_wrong_use(mirror: Mirror, simulator: Simulator) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    with pytest.raises(ConfigError, match="there is no such run"):
        retry(mirror, "nosuchrun")
    assert mirror.query("SELECT count(*) FROM runs")[0][0] == 1


# Verifications


def verify(mirror: Mirror, options: Options, of: Summary | None = None) -> Summary:
    return run_sync(
        mirror.config,
        (),
        lambda run: rechecking.audit(run, options, sequence.repair),
        trigger="test",
        command="verify",
        retry=None if of is None else of.run,
        options=options.words(),
    )


def options_to_retry(mirror: Mirror, of: Summary) -> Options:
    catalog = Catalog.open(mirror.config.catalog_url)
    with catalog.read() as connection:
        from pypimirror.catalog.queries import runs

        row = runs.find(connection, of.run)
        assert row is not None
        found = rechecking.again(connection, row)
    catalog.close()
    return found


@pytest.mark.parametrize(
    "options",
    [Options(), Options(True, True), Options(max_age=1e6, max_duration=0.1), Options(quick=True)],
)
def test_the_options_of_a_verification_are_remembered(options: Options) -> None:
    assert Options.parse(options.words()) == options


def test_a_verification_reads_again_only_what_it_did_not_see_to_be_right(
    mirror: Mirror, simulator: Simulator
) -> None:
    broken, _ = offer(simulator, "six", "1.0", "1.1")
    mirror.sync()
    good = mirror.path(broken).read_bytes()
    mirror.path(broken).write_bytes(b"x" * len(good))
    last = verify(mirror, Options())
    assert reasons(last.failures) == {broken.filename: Reason.DIGEST_MISMATCH}
    options = options_to_retry(mirror, last)
    assert options.only_files
    again = verify(mirror, options, last)
    assert reasons(again.failures) == {broken.filename: Reason.DIGEST_MISMATCH}
    assert again.counts["files_checked"] == 1
    mirror.path(broken).write_bytes(good)
    mended = verify(mirror, options_to_retry(mirror, again), again)
    assert (mended.state, mended.counts["files_checked"]) == ("completed", 1)


def test_a_verification_that_found_strangers_looks_for_them_again(
    mirror: Mirror, simulator: Simulator
) -> None:
    offer(simulator, "six", "1.0")
    mirror.sync()
    stranger = mirror.root / "packages" / "six" / "stranger.txt"
    stranger.write_text("?")
    last = verify(mirror, Options())
    options = options_to_retry(mirror, last)
    assert not options.only_files
    assert len(verify(mirror, options, last).failures) == 1
    stranger.unlink()
    assert verify(mirror, options, last).state == "completed"


def test_a_verification_whose_time_was_up_does_not_make_good_an_earlier_one(
    mirror: Mirror, simulator: Simulator
) -> None:
    broken, _ = offer(simulator, "six", "1.0", "1.1")
    mirror.sync()
    good = mirror.path(broken).read_bytes()
    mirror.path(broken).write_bytes(b"x" * len(good))
    short = Options(max_duration=0.0)
    last = verify(mirror, Options(max_duration=1e6))
    assert reasons(last.failures) == {broken.filename: Reason.DIGEST_MISMATCH}
    assert verify(mirror, short).counts["files_checked"] == 0
    assert verify(mirror, short, last).counts["files_checked"] == 0
    assert is_left(mirror, last)
    mirror.path(broken).write_bytes(good)
    assert verify(mirror, Options()).state == "completed"
    assert not is_left(mirror, last)


def is_left(mirror: Mirror, of: Summary) -> bool:
    """Whether a retry of a verification has something to do."""
    catalog = Catalog.open(mirror.config.catalog_url)
    with catalog.read() as connection:
        found = plan(connection, Selection(mirror.config), of.run, "verify")
    catalog.close()
    return found is not None
