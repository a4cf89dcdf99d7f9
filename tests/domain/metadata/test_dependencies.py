"""What files say that they require: each line by itself, in one form, and nothing guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pypimirror.domain import bounded
from pypimirror.domain.metadata.dependencies import of_sdist, of_wheel, split
from pypimirror.domain.metadata.requirements import Requirements
from tests.corpus.build import core_metadata

STATIC = b"Metadata-Version: 2.4\nName: a\nVersion: 1\nRequires-Dist: b\n\n"


def test_requirements_have_one_form() -> None:
    said = ('Foo_Bar [B_x,a] (>=1.0, <2) ; extra == "X"', "foo.bar[a,b-x]<2,>=1.0; extra == 'x'")
    found = of_wheel(core_metadata("a", "1", requires=said))
    assert found.requires == ('foo-bar[a,b-x]<2,>=1.0; extra == "x"',)
    assert split(found.requires[0]) == ("foo-bar", ("a", "b-x"), "<2,>=1.0", 'extra == "x"')


NAMES = ("a", "A.b", "Foo__bar", "x-1", "1x", "a-", "foo.", "b" * 239, "b" * 241)
VERSIONS = (
    *("", ">=1", "==1.0", "~=1.0", "!=1.0,>=0.5", "<2, >=1", ">= 1 , <2", "(>=1)", "==1.*", ">=1,"),
    *("==1.0,==1.00", ",>=1", ">=1rc1", "===1", ">=01.0", ">1,>1", ">=1<2", ">=1.", "<2,!=1.5,<=7"),
    f">={'1.' * 1200}1",
)
MARKERS = (
    *("", ";", "; extra == 'Foo_Bar'", ';python_version<"3.8"', ' ; (extra=="x")', "; foo == '1'"),
    *("; extra == 'x' ;", "; extra=='\N{SNOWMAN}'", "; os_name == 'a' ; x"),
)


@given(st.tuples(*map(st.sampled_from, (NAMES, ("", " ", "[x]"), VERSIONS, ("", " "), MARKERS))))
def test_common_forms_are_read_as_packaging_reads_them(parts: tuple[str, ...]) -> None:
    """They are read faster, because a closure has some ten thousand of them."""
    line = "".join(parts)
    found = of_wheel(core_metadata("a", "1", requires=[line]))
    try:
        read = bounded.requirement(" ".join(line.split()))
    except ValueError as error:
        assert not found.requires and str(error)[:100] in found.faults[0]
        return
    name, marker = canonicalize_name(read.name), f"; {read.marker}" if read.marker else ""
    extras = f"[{','.join(read.extras)}]" if read.extras else ""
    assert found.requires == (f"{name}{extras}{read.specifier}{marker}",)


HEADS = st.lists(
    st.one_of(
        st.text("Requires-Dtyhon: b\t\x0b\x85\u2028\x00\r[];>=1'\N{SNOWMAN}", max_size=20),
        st.sampled_from(
            ("Requires-Dist: b", "REQUIRES-DIST:\t c\x0b", "Requires-Dist:", "Requires-Python: >=3")
        ),
    )
)


@given(HEADS)
def test_a_plain_head_is_read_as_email_reads_it(lines: list[str]) -> None:
    """The parser of `email` took most of the time. A value of two lines is left to it."""
    head = "\n".join(("Name: a", *lines))
    read = of_wheel(f"{head}\n\n".encode())
    assert read == of_wheel(f"X: 1\n 2\n{head}\n\n".encode())


@pytest.mark.parametrize(
    "line",
    ["b >=2.0.*", "b @ https://example.org/b.whl", "", "b" * 300, f"b=={'9' * 9000}", "b; (((x",
     f"b; {'(' * 3000}os_name == 'a'{')' * 3000}"],
    ids=["wildcard", "address", "empty", "name", "digits", "marker", "nested"],
)  # fmt: skip
def test_a_line_that_nobody_can_read_is_told_and_the_others_count(line: str) -> None:
    found = of_wheel(core_metadata("a", "1", requires=[line, "c"]))
    assert found.requires == ("c",)
    assert len(found.faults) == 1 and len(found.faults[0]) < 400


def test_a_requires_python_that_nobody_can_read_admits_all() -> None:
    found = of_wheel(core_metadata("a", "1", requires_python="3 or so"))
    assert found.python == "" and "3 or so" in found.faults[0]


@pytest.mark.parametrize(
    ("pkg_info", "unknown"),
    [
        (None, "has no PKG-INFO"),
        (core_metadata("a", "1", requires=["b"]), "core metadata of 2.1"),
        (b"Name: a\n", "core metadata of no version"),
        (STATIC.replace(b"\n\n", b"\nDynamic: Requires-Dist\n\n"), "tell requires-dist"),
        (STATIC.replace(b"\n\n", b"\nDynamic: provides-extra\n\n"), "tell provides-extra"),
        (STATIC.replace(b"\n\n", b"\nDynamic: Requires-Python\n\n"), "tell requires-python"),
    ],
)
def test_what_an_sdist_does_not_promise_is_unknown(pkg_info: bytes | None, unknown: str) -> None:
    found = of_sdist(pkg_info, None)
    assert unknown in found.unknown and found.requires == ()


def test_what_an_sdist_promises_is_known() -> None:
    dynamic = STATIC.replace(b"\n\n", b"\nDynamic: License\n\n")
    assert of_sdist(dynamic, b"[build-system]\nrequires = []\n") == Requirements(("b",))


@pytest.mark.parametrize(
    ("pyproject", "build"),
    [
        (b"[build-system]\nrequires = ['hatchling>=1', 'a_b']\n", ("hatchling>=1", "a-b")),
        (None, ("setuptools>=40.8.0", "wheel")),
        (b"[project]\nname = 'a'\n", ("setuptools>=40.8.0", "wheel")),
        (b"[build-system]\nrequires = ['setuptools<70']\n", ("setuptools<70", "wheel")),
    ],
)  # fmt: skip
def test_what_an_sdist_is_built_with(pyproject: bytes | None, build: tuple[str, ...]) -> None:
    found = of_sdist(STATIC, pyproject)
    assert found.build == build and not found.faults


@pytest.mark.parametrize(
    "pyproject",
    [b"[build-system]\n", b"build-system = 1\n", b"[build-system]\nrequires = [1]\n", b"\xff",
     b"a = [", b"a = " + b"[" * 5000, b"[build-system]\nrequires = ['b >=2.0.*']\n"],
)  # fmt: skip
def test_a_build_system_that_nobody_can_read_is_told(pyproject: bytes) -> None:
    found = of_sdist(STATIC, pyproject)
    assert found.requires == ("b",) and found.build == () and len(found.faults) == 1


@given(st.binary(max_size=300))
def test_any_bytes_are_read(document: bytes) -> None:
    for found in (of_wheel(document), of_sdist(document, document)):
        for each in (*found.requires, *found.build):
            parts = split(each)
            assert Requirement(each).name == parts.name
