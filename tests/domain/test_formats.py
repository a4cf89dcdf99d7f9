"""The table of formats: without contradictions, and heeded wherever a file is looked at."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from pypimirror.bandersnatch import filters
from pypimirror.domain import formats
from pypimirror.domain.filenames import is_distribution, version_text
from pypimirror.domain.formats import ENDINGS, FORMATS, SDIST_ENDINGS, Format, format_of
from pypimirror.domain.model import File
from pypimirror.domain.objects.headers import file_type
from pypimirror.render import legacy
from pypimirror.render.pages import PageFile
from pypimirror.select.facts import Facts
from pypimirror.upstream.grouping import project_of

EACH = pytest.mark.parametrize("form", FORMATS, ids=ENDINGS)

#: What PyPI has ever had as `packagetype`.
_TYPES = {
    *("sdist", "bdist_wheel", "bdist_egg", "bdist_wininst", "bdist_msi", "bdist_rpm"),
    *("bdist_dumb", "bdist_dmg"),
}


def name_in(form: Format) -> str:
    stem = {"dashes": "six-1.0-py3-none-any", "rpm": "six-1.0-1.noarch", "deb": "six_1.0-1_all"}
    return stem.get(form.naming, "six-1.0") + form.ending


def test_no_ending_ends_with_another() -> None:
    for one in ENDINGS:
        assert one == one.lower()
        assert 1 <= one.count(".") <= 2
        assert [other for other in ENDINGS if one.endswith(other)] == [one]


@EACH
def test_a_file_is_seen_alike_wherever_it_is_looked_at(form: Format) -> None:
    """Two tables disagreed: what was an sdist to the selection was none to PyPI's older JSON."""
    name = name_in(form)
    upper = name.removesuffix(form.ending) + form.ending.upper()
    assert format_of(name) is format_of(upper) is form
    assert is_distribution(name)
    assert version_text(name, "six") == "1.0"
    assert project_of(name) == "six"
    assert Facts("six", File(name, "http://127.0.0.1/")).type == form.type
    assert file_type(name) == form.media_type
    said = legacy._file(PageFile(name, f"packages/six/{name}", {"sha256": "0" * 64}, 1), "")
    assert said["packagetype"] == form.packagetype
    assert form.packagetype in _TYPES
    assert filters._TYPES[form.packagetype] == form.type
    is_sdist = not re.fullmatch(rf"x{filters._NO_SDIST}.*", f"x{name}")
    assert is_sdist == (form.type == "sdist") == (form.ending in SDIST_ENDINGS)


@pytest.mark.parametrize(
    "name", ["", "six", "zip", "tar.gz", "six-1.0.gz", "six.", "six-1.0.whl.metadata"]
)
def test_what_has_no_ending_of_these_is_of_no_format(name: str) -> None:
    assert format_of(name) is None
    assert not is_distribution(name)


def test_a_new_line_is_all_that_a_name_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    new = replace(FORMATS[0], ending=".tar.new")
    monkeypatch.setitem(formats._BY_ENDING, new.ending, new)
    assert format_of("six-1.0.tar.NEW") is new
    assert version_text("six-1.0.tar.new", "six") == "1.0"
