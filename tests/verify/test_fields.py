"""The fields of METADATA and WHEEL, held against what installers read them with."""

from __future__ import annotations

import email
from email.policy import compat32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.verify.fields import fields

PIECES = st.sampled_from(
    [
        *(b"Name: a", b"name:b", b"Name : c", b" folded", b"\tfolded", b"\n", b"\r\n", b"\r"),
        *(
            b"\n\n",
            b"garbage",
            b"From x",
            b":",
            b"a:b:c",
            b"\xef\xbb\xbf",
            b"\xe9: x",
            b"\x0c",
            b"\0",
            b" ",
        ),
    ]
)


@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_fields_are_those_that_the_email_parser_finds(content: bytes) -> None:
    parsed = email.message_from_bytes(content, policy=compat32)
    theirs = [key.lower().encode() for key in parsed.keys() if key]  # noqa: SIM118
    assert [name for name, _ in fields(content) if name] == theirs


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r"])
def test_values_and_line_ends(ending: bytes) -> None:
    content = ending.join([b"Name: six", b"Summary:\t x ", b" more", b"", b"Name: body"])
    assert list(fields(content)) == [(b"name", b"six"), (b"summary", b"x")]


def test_many_lines_are_read_one_at_a_time() -> None:
    assert next(iter(fields(b"Name: x\n" * 1_000_000))) == (b"name", b"x")
