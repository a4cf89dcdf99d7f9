"""The clients of these tests know whether an answer was complete."""

from __future__ import annotations

import pytest

from tests.on_demand.site import ask
from tests.simulator import Chunked, Fault, Hangup, Reset, Simulator, Status, Truncate

BODY = b"x" * 5000


@pytest.mark.parametrize("fault", [None, Chunked(100)])
def test_a_whole_answer_is_complete(simulator: Simulator, fault: Fault | None) -> None:
    simulator.serve("/a", BODY)
    if fault:
        simulator.fault("/a", fault)
    got = ask(f"{simulator.root}/a")
    assert (got.status, got.body, got.complete) == (200, BODY, True)
    assert not got.is_honest_error


@pytest.mark.parametrize(
    "fault", [Truncate(4999), Reset(), Reset(after=100), Hangup(), Chunked(100, cut=True)]
)
def test_an_answer_that_is_cut_is_not_complete(simulator: Simulator, fault: Fault) -> None:
    simulator.serve("/a", BODY)
    simulator.fault("/a", fault)
    got = ask(f"{simulator.root}/a")
    assert not got.complete
    assert got.is_honest_error
    assert len(got.body) <= len(BODY)


def test_an_error_is_honest_only_with_a_sentence(simulator: Simulator) -> None:
    simulator.serve("/a", "The upstream is away.", status=502)
    simulator.serve("/b", "", status=502)
    simulator.serve("/c", "No such file.", status=404)
    honest = [ask(f"{simulator.root}/{name}").is_honest_error for name in "abc"]
    assert honest == [True, False, False]
    simulator.fault("/a", Status(500))
    assert not ask(f"{simulator.root}/a").is_honest_error
