"""Plain pages of links and the names of downloads, as the engine asks for them."""

from __future__ import annotations

import hashlib
import itertools

import pytest

from pypimirror.domain.model import Reason
from pypimirror.download.protocol import FetchLinks, LinksResult
from tests import simulator as faults
from tests.download.conftest import Lab, MakeLab
from tests.simulator import Simulator

numbers = itertools.count(1)

#: A megabyte, of which no two pieces are alike.
LARGE = "<html>" + "".join(
    f'<a href="six-{n}.zip">six</a> <!-- {n:0>90} -->\n' for n in range(8000)
)


def links(lab: Lab, path: str, **fields: bool) -> LinksResult:
    result = lab.fetcher.do(FetchLinks(next(numbers), "sim", lab.url(path), **fields))
    assert isinstance(result, LinksResult)
    return result


@pytest.mark.parametrize("encoded", [False, True])
def test_a_large_page_of_links_is_read_as_it_is(
    lab: Lab, simulator: Simulator, encoded: bool
) -> None:
    simulator.serve("/l", LARGE, "text/html")
    if encoded:
        simulator.fault("/l", faults.Encoded())
    result = links(lab, "/l")
    assert result.digest == hashlib.sha256(LARGE.encode()).hexdigest()
    assert result.page is not None
    assert [file.filename for file in result.page.files] == [f"six-{n}.zip" for n in range(8000)]


def test_a_large_project_page_is_read_as_it_is(lab: Lab, simulator: Simulator) -> None:
    simulator.page("six", LARGE, "text/html")
    result = lab.page()
    assert result.digest == hashlib.sha256(LARGE.encode()).hexdigest()
    assert result.page is not None
    assert [file.filename for file in result.page.files] == [f"six-{n}.zip" for n in range(8000)]


def test_a_page_larger_than_allowed_is_refused(make_lab: MakeLab, simulator: Simulator) -> None:
    simulator.serve("/l", LARGE, "text/html")
    result = links(make_lab(max_page_size=1000), "/l")
    assert result.problem is not None
    assert result.problem.reason is Reason.TOO_LARGE


def test_what_is_neither_a_page_nor_a_distribution_is_nothing(
    lab: Lab, simulator: Simulator
) -> None:
    simulator.serve("/report", b"%PDF", "application/pdf")
    result = links(lab, "/report")
    assert (result.page, result.filename, result.problem) == (None, "", None)


def test_the_connection_can_be_used_again_after_a_head(lab: Lab, simulator: Simulator) -> None:
    simulator.serve("/six-1.0.zip", b"x" * 100, "application/zip")
    for _ in range(3):
        assert links(lab, "/six-1.0.zip", name_only=True).filename == "six-1.0.zip"
    assert [request.method for request in simulator.requests] == ["HEAD"] * 3
    assert simulator.connections == 1
