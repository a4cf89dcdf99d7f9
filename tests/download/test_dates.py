"""Dates in the heads of answers are held against the clock that they were made by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from pypimirror.download import dates

NOW = datetime(2026, 1, 1, tzinfo=UTC)
YEARS = timedelta(days=4 * 365)


def date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def asked(value: str | None, **headers: str) -> float | None:
    given = {name.title(): text for name, text in headers.items()}
    if value is not None:
        given["Retry-After"] = value
    return dates.retry_after(CaseInsensitiveDict(given), NOW.timestamp())


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 5 ", 5.0),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 50, dates.LONGEST),
        (date(NOW + timedelta(seconds=30)), 30.0),
        (date(NOW - timedelta(days=1)), 0.0),
        (date(NOW + YEARS), dates.LONGEST),
    ],
)
def test_retry_after(value: str | None, seconds: float | None) -> None:
    assert asked(value) == seconds


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=9))
def test_any_retry_after_is_read_or_ignored(value: str, made: str, age: str) -> None:
    found = asked(value, date=made, age=age)
    assert found is None or 0 <= found <= dates.LONGEST


@given(
    st.floats(-2e9, 2e9).map(lambda seconds: timedelta(seconds=round(seconds))),
    st.integers(0, 80_000),
    st.integers(0, 1000),
)
def test_a_rest_is_as_long_whatever_clock_its_end_is_told_by(
    ahead: timedelta, rest: int, age: int
) -> None:
    now = NOW + ahead
    said = date(now + timedelta(seconds=rest))
    assert asked(said, date=date(now - timedelta(seconds=age)), age=str(age)) == rest


@given(st.integers(-(10**9), 10**9))
def test_what_was_last_modified_ahead_of_now_names_no_state(seconds: int) -> None:
    said = date(NOW + timedelta(seconds=seconds))
    found = dates.last_modified({"Last-Modified": said}, NOW.timestamp())
    assert found == (said if seconds <= 300 else None)


def test_what_is_no_date_is_handed_back_as_it_was_given() -> None:
    """Servers that make such validators compare them as text."""
    for said in ("yesterday", "Mon, 99 Foo 2000"):
        assert dates.last_modified({"Last-Modified": said}, NOW.timestamp()) == said
