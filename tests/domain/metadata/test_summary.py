"""What search needs of core metadata, held against what installers read it with."""

from __future__ import annotations

from email.parser import HeaderParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from pypimirror.domain.metadata import summary

PIECES = st.sampled_from(
    [
        *("Summary: a", "SUMMARY:b", "Summary : c", "Summary:", "Requires-Dist: six>=1", "Name: x"),
        *("requires-dist:idna ; python_version<'4'", "Requires-Dist: attrs; extra == 'x'"),
        *("Requires-Dist: Zope.Interface (>1)", "Requires-Dist:", "\u017fummary: no", " folded"),
        *("\tfolded", "\n", "\r\n", "\r", "garbage", "From x", ":", "\ufeff", "\x0c", "\0", " "),
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join))
def test_the_fields_are_those_that_the_email_parser_finds(text: str) -> None:
    head = text.replace("\r\n", "\n").partition("\n\n")[0]
    parsed = HeaderParser().parsestr(head)
    found = summary.of(text.encode())
    assert found.text == " ".join(str(parsed.get("Summary", "")).replace("\0", "\ufffd").split())
    names = {"six", "idna", "attrs", "zope-interface", "folded", "summary", "name"}
    theirs = {
        canonicalize_name(str(value).split()[0].partition(">")[0])
        for value in parsed.get_all("Requires-Dist", [])
        if str(value).split() and "extra" not in str(value)
    }
    assert found.requires & names == theirs & names


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_a_summary_may_be_folded_and_ends_with_the_headers(ending: str) -> None:
    lines = ["Name: six", "Summary:\t one ", "  two", "Requires-Dist: idna", "no header"]
    content = ending.join([*lines, "Requires-Dist: attrs", "", "Summary: body"]).encode()
    assert summary.of(content) == ("one two", frozenset({"idna"}))


def test_a_long_line_without_a_colon_takes_no_time_to_speak_of() -> None:
    assert summary.of(b"Summary: x\n" + b"y" * 10_000_000) == ("x", frozenset())
