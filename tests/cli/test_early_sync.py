"""A sync asks its upstreams early, and starts a worker early only if it needs one."""

from __future__ import annotations

import pytest

from pypimirror.cli import early_sync
from pypimirror.download import unchanged
from pypimirror.pipeline.context import remotes
from tests.mirror import Mirror, offer
from tests.pipeline.asked.clients import ask
from tests.simulator import Simulator

WORKER = ["pypimirror.download.worker"]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The modules whose children are started early; none of them really is."""
    found: list[str] = []
    monkeypatch.setattr(early_sync, "start_early", lambda module, first: found.append(module))
    monkeypatch.setattr(unchanged, "_early", {})
    return found


def begin(mirror: Mirror) -> None:
    """Begin early, and wait for the answers."""
    early_sync.begin(mirror.config)
    for thread in unchanged._early.values():
        thread.join()


def test_a_sync_takes_over_the_answers_and_starts_nothing_if_no_list_has_changed(
    mirror: Mirror, simulator: Simulator, started: list[str]
) -> None:
    offer(simulator, "six", "1.0")
    mirror.select()
    mirror.sync()
    simulator.forget()
    begin(mirror)
    assert mirror.sync().state == "completed"
    assert [(request.method, request.status) for request in simulator.requests] == [("HEAD", 304)]
    assert started == []


def test_a_worker_starts_once_if_a_list_has_changed(
    mirror: Mirror, simulator: Simulator, started: list[str]
) -> None:
    offer(simulator, "six", "1.0")
    mirror.select()
    mirror.sync()
    (new,) = offer(simulator, "six", "2.0")
    simulator.forget()
    begin(mirror)
    assert started == WORKER
    assert mirror.sync().counts["files_verified"] == 1
    assert new.filename in mirror.files("six")
    assert [request.method for request in simulator.requests].count("HEAD") == 1


def test_a_worker_starts_at_once_if_no_list_was_read_yet(
    mirror: Mirror, simulator: Simulator, started: list[str]
) -> None:
    mirror.select()
    begin(mirror)
    assert (started, simulator.requests) == (WORKER, [])


def test_a_worker_starts_at_once_if_projects_are_named(
    mirror: Mirror, simulator: Simulator, started: list[str]
) -> None:
    offer(simulator, "six", "1.0")
    mirror.select()
    mirror.sync()
    mirror.select("six", "a*")
    simulator.forget()
    begin(mirror)
    assert (started, simulator.requests) == (WORKER, [])


@pytest.mark.parametrize("is_asked", [False, True])
def test_on_demand_a_worker_starts_at_once_only_if_clients_have_asked_for_something(
    mirror: Mirror, simulator: Simulator, started: list[str], is_asked: bool
) -> None:
    (file,) = offer(simulator, "six", "1.0")
    mirror.configure(on_demand={"projects": ["*"]})
    mirror.sync()
    if is_asked:
        ask(mirror, file)
    simulator.forget()
    begin(mirror)
    assert (started, simulator.requests) == (WORKER if is_asked else [], [])


def test_an_answer_to_another_question_is_not_taken_over(
    mirror: Mirror, simulator: Simulator, started: list[str]
) -> None:
    offer(simulator, "six", "1.0")
    mirror.select()
    mirror.sync()
    begin(mirror)
    offer(simulator, "six", "2.0")
    mirror.configure(download={"contact": "somebody@example.org"})
    assert mirror.sync().counts["files_verified"] == 1


def test_an_answer_counts_once_and_not_for_long(
    mirror: Mirror, simulator: Simulator, started: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(simulator, "six", "1.0")
    mirror.select()
    mirror.sync()
    (row,) = mirror.query("SELECT etag, last_modified FROM lists")
    question = remotes.question(mirror.config, mirror.config.upstream[0].name, *row)
    assert question is not None
    begin(mirror)
    offer(simulator, "six", "2.0")
    assert unchanged.answer(question)
    assert not unchanged.answer(question)
    unchanged.ask_early([question], otherwise=lambda: None)
    monkeypatch.setattr(unchanged, "_FRESH", -1.0)
    simulator.forget()
    assert not unchanged.answer(question)
    assert simulator.requests
