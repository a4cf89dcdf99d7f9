"""The first bytes of a file come alone, whatever the upstream makes of the request for a part."""

from __future__ import annotations

import pytest

from pypimirror.domain.model import Reason
from tests import simulator as faults
from tests.download.conftest import Lab, problem
from tests.simulator import IndexFile, Simulator

CONTENT = bytes(range(256)) * 4096


@pytest.fixture
def large(simulator: Simulator) -> IndexFile:
    return simulator.add_file("large", "large-1.0.tar.gz", CONTENT)


@pytest.mark.parametrize("fault", [None, faults.IgnoreRange()], ids=["a part", "the whole"])
def test_only_the_first_bytes_are_written(
    lab: Lab, simulator: Simulator, large: IndexFile, fault: faults.Fault | None
) -> None:
    if fault is not None:
        simulator.fault(large, fault)
    result = lab.file(large, head=1000)
    assert (result.problem, result.size) == (None, 1000)
    assert lab.path().read_bytes() == CONTENT[:1000]


def test_a_file_that_does_not_end_is_left(lab: Lab, simulator: Simulator, large: IndexFile) -> None:
    simulator.fault(large, faults.EndlessChunked())
    assert lab.file(large, head=1000).size == 1000


def test_a_short_file_is_written_as_a_whole(lab: Lab, simulator: Simulator) -> None:
    short = simulator.add_file("short", "short-1.0.tar.gz", b"short")
    assert lab.file(short, head=1000).size == 5
    assert lab.path().read_bytes() == b"short"


def test_bytes_in_another_form_are_refused(
    lab: Lab, simulator: Simulator, large: IndexFile
) -> None:
    simulator.fault(large, faults.Encoded())
    problem(lab.file(large, head=1000), Reason.BAD_RESPONSE)
    assert not lab.path().exists()


def test_another_part_is_refused(lab: Lab, simulator: Simulator, large: IndexFile) -> None:
    simulator.fault(large, faults.WrongRange(5))
    problem(lab.file(large, head=1000), Reason.BAD_RESPONSE)
    assert not lab.path().exists()


def test_a_file_that_is_gone_is_missing(lab: Lab, simulator: Simulator, large: IndexFile) -> None:
    simulator.fault(large, faults.Status(404))
    problem(lab.file(large, head=1000), Reason.MISSING)
