"""What a probe tells of the other side."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest
from requests.models import Response

from pypimirror.download.probe import seconds_ahead


def answer(**headers: str) -> Response:
    response = Response()
    response.headers.update({name.title(): value for name, value in headers.items()})
    return response


def test_the_other_clock_is_read_off_the_date() -> None:
    ahead = seconds_ahead(answer(date=formatdate(time.time() + 3600, usegmt=True)))
    assert ahead == pytest.approx(3600, abs=60)


def test_an_answer_from_a_cache_is_as_old_as_it_says() -> None:
    ahead = seconds_ahead(answer(date=formatdate(time.time() - 900, usegmt=True), age="900"))
    assert ahead == pytest.approx(0, abs=60)


@pytest.mark.parametrize("date", [{}, {"date": "yesterday"}, {"date": "Mon, 99 Foo 2000"}])
def test_no_date_tells_nothing(date: dict[str, str]) -> None:
    assert seconds_ahead(answer(**date)) is None


def test_nonsense_in_place_of_an_age_counts_as_none() -> None:
    now = formatdate(time.time(), usegmt=True)
    assert seconds_ahead(answer(date=now, age="9" * 40)) == pytest.approx(0, abs=60)
