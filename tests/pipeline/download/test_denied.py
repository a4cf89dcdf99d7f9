"""Single files that a policy of the upstream keeps back: told apart from failures."""

from __future__ import annotations

import pytest

from pypimirror.domain.model import Reason
from tests.mirror import Mirror, offer
from tests.simulator import IndexFile, Simulator, Status

SAYS = b'{"errors": [{"message": "held for review"}]}'


@pytest.fixture
def denied(mirror: Mirror, simulator: Simulator) -> IndexFile:
    """The newest file of a project, which a firewall keeps back."""
    offer(simulator, "idna", "3.0")
    newest = offer(simulator, "six", "1.0", "1.1")[-1]
    simulator.fault(newest, Status(403, body=SAYS))
    return newest


def test_a_run_completes_and_tells_them_apart(mirror: Mirror, denied: IndexFile) -> None:
    result = mirror.sync()
    assert (result.state, result.failures) == ("completed", [])
    assert (result.counts["files_failed"], result.counts["files_denied"]) == (0, 1)
    (told,) = result.as_json()["denied"]
    assert (told["file"], told["reason"]) == (denied.filename, "denied")
    assert "held for review" in told["message"]
    assert denied.filename not in mirror.files("six")
    assert len(mirror.files("six")) == 1
    mirror.check()


def test_every_run_tells_of_them_until_they_are_let_go(
    mirror: Mirror, simulator: Simulator, denied: IndexFile
) -> None:
    mirror.sync()
    for _ in range(3):
        again = mirror.sync()
        assert (again.state, again.counts["files_denied"]) == ("completed", 1)
    simulator.rules.clear()
    retried = mirror.sync("six")
    assert (retried.state, retried.counts["files_denied"]) == ("completed", 0)
    assert denied.filename in mirror.files("six")


def test_they_are_failures_where_the_operator_wants_it(mirror: Mirror, denied: IndexFile) -> None:
    mirror.configure(download={"denied": "fail"})
    result = mirror.sync()
    assert (result.state, result.denied) == ("incomplete", [])
    assert [problem.reason for problem in result.failures] == [Reason.DENIED]
    assert (result.counts["files_failed"], result.counts["files_denied"]) == (1, 0)


def test_more_that_is_kept_back_than_held_is_no_policy_on_single_files(
    mirror: Mirror, simulator: Simulator
) -> None:
    """Then a login is lacking, or the mirror would empty itself and call that complete."""
    for file in offer(simulator, "six", "1.0", "1.1"):
        simulator.fault(file, Status(403))
    result = mirror.sync()
    assert (result.state, len(result.failures), result.denied) == ("incomplete", 2, [])


def test_other_failures_count_as_before(
    mirror: Mirror, simulator: Simulator, denied: IndexFile
) -> None:
    simulator.fault(offer(simulator, "bad", "1.0")[0], Status(404))
    result = mirror.sync()
    assert result.state == "incomplete"
    assert [problem.reason for problem in result.failures] == [Reason.MISSING]
    assert (result.counts["files_failed"], result.counts["files_denied"]) == (1, 1)
