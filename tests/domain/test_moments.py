"""Moments: what an upstream may write, and what pages must have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.domain.moments import in_utc, seconds


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ("2025-01-02T03:04:05Z", "2025-01-02T03:04:05Z"),
        ("2025-01-02T03:04:05.1Z", "2025-01-02T03:04:05.1Z"),
        ("2025-01-02T03:04:05.000006Z", "2025-01-02T03:04:05.000006Z"),
        ("2025-01-02T03:04:05", "2025-01-02T03:04:05Z"),
        ("2025-01-02 03:04:05.123", "2025-01-02T03:04:05.123000Z"),
        ("2025-01-02t03:04:05z", "2025-01-02T03:04:05Z"),
        ("2025-01-02T03:04:05,5Z", "2025-01-02T03:04:05.500000Z"),
        ("2025-01-02T03:04Z", "2025-01-02T03:04:00Z"),
        ("2025-01-02 03:04:05 +00:00", "2025-01-02T03:04:05Z"),
        ("2025-01-02T03:04:05-00:00", "2025-01-02T03:04:05Z"),
        ("2025-01-02T03:04:05+0530", "2025-01-01T21:34:05Z"),
        ("2025-01-02T03:04:05+02", "2025-01-02T01:04:05Z"),
        ("2025-01-02T03:04:05.123456789Z", "2025-01-02T03:04:05.123456Z"),
        ("2025-01-02T03:04:05.999999999+01:00", "2025-01-02T02:04:05.999999Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999Z"),
        ("2016-12-31T23:59:60.5Z", "2016-12-31T23:59:59.999999Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-30T22:00:00.5Z", "9999-12-30T22:00:00.500000Z"),  # the last that uv knows
        ("2024-02-29T00:00:00Z", "2024-02-29T00:00:00Z"),
    ],
)
def test_a_moment_is_written_in_utc(stated: str, expected: str) -> None:
    assert in_utc(stated) == expected
    assert in_utc(expected) == expected
    assert seconds(stated) == seconds(expected)


@pytest.mark.parametrize(
    "stated",
    [
        *("2025-13-02T03:04:05Z", "2025-02-30T03:04:05Z", "2025-01-02T29:04:05Z"),
        *("2025-01-02T24:00:00Z", "2025-01-02T03:04:61Z", "2025-01-02T03:60:00Z"),
        *("2025-01-02T03:04:05+99:99", "2025-01-02T03:04:05+24:00", "2025-01-02T03:04:05+01:60"),
        *("0000-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "0001-01-01T00:00:00+01:00"),
        *("9999-12-31T23:59:59Z", "9999-12-30T22:00:01Z", "9999-12-30T22:00:01+00:00"),
        *("10000-01-01T00:00:00Z", "-001-01-01T00:00:00Z", "2023-02-29T00:00:00Z"),
        *("2025-01-02", "20250102T030405Z", "2025-W01-1T00:00:00Z", "2025-001T00:00:00Z"),
        *("\uff12025-01-02T03:04:05Z", "2025-01-02T03:04:05Z\n", " 2025-01-02T03:04:05Z"),
        *("2025-01-02T03:04:05." + "9" * 5000 + "Z", "now", "", "1735787045"),
        *(None, 0, 1735787045, 1e400, True, [], {}, b"2025-01-02T03:04:05Z"),
    ],
)
def test_what_is_no_moment(stated: object) -> None:
    assert in_utc(stated) is None
    if isinstance(stated, str):
        assert seconds(stated) is None


ZONES = st.integers(-23 * 60, 23 * 60).map(lambda n: timezone(timedelta(minutes=n)))


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31), timezones=ZONES))
def test_the_moment_stays_the_same(moment: datetime) -> None:
    text = in_utc(moment.isoformat())
    assert text is not None and text.endswith("Z")
    assert datetime.fromisoformat(text.replace("Z", "+00:00")) == moment.astimezone(UTC)
    assert in_utc(text) == text


@given(st.text(alphabet="0123456789-:.+TtZz ,", max_size=40))
def test_any_text_is_a_moment_or_none(text: str) -> None:
    found = in_utc(text)
    assert found is None or in_utc(found) == found
