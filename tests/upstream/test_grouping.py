"""Whose a file is, by its name alone: `pypimirror.upstream.grouping`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from pypimirror.domain.filenames import MAX_BYTES
from pypimirror.domain.model import ProjectName
from pypimirror.upstream.grouping import project_of


@pytest.mark.parametrize(
    ("filename", "project"),
    [
        ("six-1.0-py2.py3-none-any.whl", "six"),
        ("zope.interface-5.0-1-cp39-cp39-win32.whl", "zope-interface"),
        ("Foo_2-1.0-py3.8.egg", "foo-2"),
        ("six-1.0.tar.gz", "six"),
        ("foo-bar-1.0.tar.gz", "foo-bar"),
        ("foo_bar-1.0.zip", "foo-bar"),
        ("foo-2-1.0.tar.gz", "foo-2"),
        ("foo_2-1.0.tar.gz", "foo-2"),
        ("foo-3d-1.0.tar.gz", "foo-3d"),
        ("foo-1.0-1.tar.gz", "foo"),
        ("foo-v1.0.tar.bz2", "foo"),
        ("foo_1.0.tar.gz", "foo"),
        ("foo-bar-1.0.win32-py2.7.exe", "foo-bar"),
        ("foo-1.0.linux-x86_64.tar.gz", "foo"),
        ("foo-1.0.win-amd64-py3.4.msi", "foo"),
        ("foo-1.0-1.noarch.rpm", "foo"),
        ("python3-foo_1.0-1_all.deb", "foo"),
        ("foo-latest.tar.gz", "foo"),
        ("foo-bar-latest.zip", "foo-bar"),
        ("foo1.0.tar.gz", None),
        ("foo.tar.gz", None),
        ("-1.0.tar.gz", None),
        ("../../etc-1.0.tar.gz", None),
        ("fü-1.0.tar.gz", None),
        (f"{'a' * MAX_BYTES}-1.0.tar.gz", None),
    ],
)
def test_the_project_of_a_name_that_nobody_asked_for(filename: str, project: str | None) -> None:
    assert project_of(filename) == project


@pytest.mark.parametrize(
    ("filename", "named", "project"),
    [
        ("foo-1.0-1.tar.gz", ["foo-1-0"], "foo-1-0"),
        ("foo-1.0-1.tar.gz", ["foo", "foo-1-0"], "foo-1-0"),
        ("foo-1.0-1.tar.gz", ["bar"], "foo"),
        ("foo-bar-1.0.tar.gz", ["foo"], "foo-bar"),
        ("foo1.0.tar.gz", ["foo"], "foo"),
        ("foo-bar-latest.zip", ["foo"], "foo"),
        ("foo-bar-latest.zip", ["foo", "foo-bar"], "foo-bar"),
        ("six-1.0-py3-none-any.whl", ["six-1-0"], "six"),
    ],
)
def test_a_name_asked_for_decides_what_is_ambiguous_and_nothing_else(
    filename: str, named: list[str], project: str
) -> None:
    assert project_of(filename, [ProjectName(name) for name in named]) == project


@given(st.text("ab1.-_v", max_size=30), st.sampled_from([".tar.gz", ".whl", ".egg", ".deb", ""]))
def test_what_comes_out_is_a_normalised_name_that_the_file_begins_with(
    stem: str, ending: str
) -> None:
    project = project_of(stem + ending)
    if project is not None:
        assert project == canonicalize_name(project)
        assert canonicalize_name(stem + ending).startswith(project)
