"""Foreign numbers, versions and specifiers: parsed within bounds, and in one place."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.domain import bounded

ROOT = Path(__file__).parents[2] / "pypimirror"
LONG = "9" * 5000


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *(("0", 0), ("17", 17), ("007", 7), (b"17", 17), ("0" * 5000 + "1", 1)),
        (str(2**63 - 1), 2**63 - 1),
        *((text, None) for text in ("", "-1", "+1", "1.5", " 1", "1_0", "\u0663", "\xb2", LONG)),
        *((value, None) for value in (None, b"", b"x", str(2**63))),
    ],
)
def test_natural(text: str | bytes | None, number: int | None) -> None:
    assert bounded.natural(text) == number


@pytest.mark.parametrize("value", [7, "7", 7.0, "007"])
def test_serials_in_any_spelling(value: object) -> None:
    assert bounded.serial(value) == 7


@pytest.mark.parametrize(
    "value",
    [
        *(0, "0", 0.0, -1, -5.0, 1.5, "1.5", "", "x", True, None, [], {}, 2**53, 2**63, 1e300),
        *(10**400, float("inf"), float("nan"), LONG, str(2**53), "\u0663"),
    ],
)
def test_what_is_no_serial(value: object) -> None:
    assert bounded.serial(value) is None


@given(st.integers() | st.floats() | st.text() | st.booleans() | st.none())
def test_a_serial_can_be_kept_and_added_to(value: Any) -> None:
    found = bounded.serial(value)
    assert found is None or (type(found) is int and 0 < found < found + 1 <= 2**53)


def test_versions_and_specifiers() -> None:
    assert str(bounded.version("1.0")) == "1.0"
    assert str(bounded.specifiers(">=3.8")) == ">=3.8"
    for text in (LONG, f"1.{LONG}", "no version"):
        assert bounded.version(text) is None
        assert bounded.specifiers(f">={text}") is None


#: Where foreign text is read, and what of it is bounded before, by whom.
READERS = ("upstream", "select", "verify", "render", "pipeline", "check", "resolve")
UNBOUNDED = {"int", "Version", "SpecifierSet", "Requirement"}
ALLOWED = {
    "upstream/json.py": "numbers of less than 20 digits",
    "upstream/checks.py": "api_version: four digits each, by its pattern",
    "select/entries.py": "the operator's own configuration",
    "pipeline/publish/summaries.py": "a constant",
    "select/requirements.py": "the operator's own files",
    "select/rules.py": "the operator's own configuration",
    "select/environments.py": "the operator's own configuration",
    "select/platforms.py": "three digits, by its patterns",
    "render/legacy.py": "constants",
    "verify/archives/tars.py": "fields of fixed width, and digits that are counted before",
    "pipeline/publish/contents.py": "the catalog's own API versions and serials",
    "pipeline/discover/lists/lists.py": "a number of ours",
    "pipeline/discover/project_pages.py": "a constant",
    "pipeline/run.py": "the operator's own configuration",
    "pipeline/context/remotes.py": "the operator's own configuration",
    "pipeline/executors/child.py": "the operator's own configuration",
    "pipeline/executors/handover.py": "a number of ours",
    "pipeline/download/staging.py": "digits that are counted before",
    "pipeline/verify/verify.py": "a level of ours",
    "verify/hash_worker.py": "a number of ours",
    "check/resolving.py": "versions that uv chose, of files here: their names are bounded",
    "resolve/uv.py": "digits that are counted, by its pattern",
    "resolve/platforms.py": "three digits, by its patterns",
}


def test_nobody_gives_foreign_text_to_int_or_packaging() -> None:
    found = set()
    for part in READERS:
        for file in (ROOT / part).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                called = node.func if isinstance(node, ast.Call) and node.args else None
                if isinstance(called, ast.Name) and called.id in UNBOUNDED:
                    found.add(str(file.relative_to(ROOT)))
    assert found - ALLOWED.keys() == set(), "use pypimirror.domain.bounded"
    assert ALLOWED.keys() - found == set(), "not needed any more"
