"""Expressions of the configuration: what they find, and that none takes for ever."""

from __future__ import annotations

import re
import time

import pytest

from pypimirror.select import patterns
from pypimirror.select.patterns import EntryError, expression, pattern

#: Each of them tries more ways than there are atoms before it gives such a name up.
ENDLESS = ["/^(a+)+$/", "/^(a|a)+$/", "/(a*)*b/", "/^(a|aa)+$/", "/^(.*a){25}$/"]
NAME = "a" * 200 + "-"


@pytest.mark.parametrize("text", ENDLESS)
def test_an_expression_that_goes_back_for_ever_is_named_and_ends(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.05)
    found = expression(text, "select.projects")
    started = time.process_time()
    try:
        assert not found.search(NAME)  # `regex` may see through it
    except EntryError as error:
        assert str(error).startswith(f"select.projects: {text!r} takes more than")
    assert time.process_time() - started < 2


def test_the_bound_is_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.05)
    with pytest.raises(EntryError, match="without repeating what repeats already"):
        expression("/^(a|aa)+$/", "").search(NAME)


@pytest.mark.parametrize("text", ["*" + "a*" * 12 + "b", "[a]*" * 4 + "b", "a*" * 60 + "b"])
def test_globs_do_not_go_back(text: str) -> None:
    started = time.process_time()
    assert not pattern(text, "").search(NAME + "c")
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("^acme-", "acme-tools"),
        ("^acme-", "the-acme-tools"),
        ("rc[0-9]+$", "1.0rc12"),
        ("cp3(11|12)", "six-1.0-cp312-cp312-any.whl"),
        (r"(?i)^ACME", "acme"),
        (r"^(?!acme)", "acme"),
        (r"^(?P<x>a)(?P=x)\Z", "aa"),
        ("[[a]", "["),
        ("[a||b]", "|"),
        (r"\bpy\d+\b", "my py3 x"),
    ],
)
def test_what_is_found_is_what_re_finds(text: str, value: str) -> None:
    assert expression(f"/{text}/", "").search(value) is bool(re.search(text, value))


@pytest.mark.parametrize("text", ["//", "/a", "/(/", "/a{3,1}/", "/(?P<x>a)(?P<x>b)/", "/*/"])
def test_what_is_no_expression_is_named(text: str) -> None:
    with pytest.raises(EntryError, match="regular expression"):
        expression(text, "select.projects")
