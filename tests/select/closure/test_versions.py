"""As few specifiers as say the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from pypimirror.select.closure.close import reaches
from pypimirror.select.closure.versions import fewest

NUMBERS = ("0.9", "1.0", "1", "1.0rc1", "1.1", "2.0", "2.0.dev1", "2.0.post1", "1!0.5")
VERSIONS = [Version(text) for text in (*NUMBERS, "1.0a1", "1.0+local", "1.5", "3.0", "2.0+x")]

clauses = st.builds(
    lambda operator, number: f"{operator}{number}",
    st.sampled_from((">=", ">", "<", "<=", "==", "!=", "~=")),
    st.sampled_from(NUMBERS),
).filter(lambda text: text != "~=1")
wildcards = st.sampled_from(("==1.*", "!=1.*", "==2.0.*"))
specifiers = st.lists(clauses | wildcards, max_size=2).map(",".join)


@given(st.lists(specifiers, min_size=1, max_size=6))
def test_fewer_specifiers_mean_the_same_versions(asked: list[str]) -> None:
    found = fewest(asked)
    assert len(found) <= len(set(asked)) and fewest(found) == found
    for version in VERSIONS:
        before = any(reaches(each, version) for each in asked)
        assert any(reaches(each, version) for each in found) == before, (found, version)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ([">=2", ">=1,<3", ">=1"], (">=1",)),
        (["<2", "", ">=1"], ("",)),
        (["==1.*", ">=1"], ("==1.*", ">=1")),  # which means pre-releases of 1 as well
        (["==1.0", "<0.5", ">=0.9"], ("<0.5", ">=0.9")),
    ],
)
def test_what_adds_nothing_is_left_out(asked: list[str], found: tuple[str, ...]) -> None:
    assert fewest(asked) == found
