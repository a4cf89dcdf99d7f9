"""What `[select]` selects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from pypimirror.config.settings import ConfigError, load, parse
from pypimirror.domain.model import File, ProjectName
from pypimirror.select.selection import Selection

NOW = 1_800_000_000.0


def selection(*projects: str, **more: Any) -> Selection:
    return Selection(parse({"select": {"projects": list(projects), **more}}, Path("/x.toml")))


def project(name: str) -> ProjectName:
    return ProjectName(canonicalize_name(name))


def chosen(select: Selection, name: str, *filenames: str) -> list[str]:
    offered = [File(filename, f"http://127.0.0.1/{filename}") for filename in filenames]
    flags = select.choose(project(name), offered, NOW).selected
    return [filename for filename, flag in zip(filenames, flags, strict=True) if flag]


def test_an_empty_selection_is_everything_and_needs_the_list() -> None:
    everything = selection()
    assert everything.needs_list
    assert everything.named == ()
    assert everything.project(project("anything"))
    assert chosen(everything, "six", "six-nonsense.zip") == ["six-nonsense.zip"]


@pytest.mark.parametrize("spelling", ["zope.interface", "Zope_Interface", "ZOPE--interface"])
def test_names_are_normalised(spelling: str) -> None:
    select = selection(spelling)
    assert select.named == ("zope-interface",)
    assert not select.needs_list
    assert select.project(project("zope.interface"))
    assert not select.project(project("zope"))
    assert not selection(exclude=[spelling]).project(project("zope-interface"))


def test_named_projects_are_asked_for_once_in_order_and_not_when_excluded() -> None:
    select = selection("six", "idna>=2", "Six", "attrs", exclude=["idna"])
    assert select.named == ("six", "attrs")


@pytest.mark.parametrize(
    ("glob", "matched", "not_matched"),
    [
        ("zope.*", ["zope-interface", "zope-a-b"], ["zope", "zopeless"]),
        ("zope*", ["zope", "zope-interface", "zopeless"], ["xzope"]),
        ("Django_*", ["django-filter"], ["django"]),
        ("s?x", ["six", "sax"], ["siix", "sx"]),
        ("[ab]*", ["attrs", "black"], ["six"]),
        ("*", ["anything"], []),
    ],
)
def test_globs(glob: str, matched: list[str], not_matched: list[str]) -> None:
    select = selection(glob)
    assert select.needs_list
    assert all(select.project(project(name)) for name in matched)
    assert not any(select.project(project(name)) for name in not_matched)
    excluded = selection(exclude=[glob])
    assert not any(excluded.project(project(name)) for name in matched)


@pytest.mark.parametrize(
    ("entry", "kept"),
    [
        ("six==1.*", ["six-1.0.tar.gz", "six-1.5-py3-none-any.whl"]),
        ("six[extra]>=2", ["six-2.0.tar.gz", "six-2.1rc1.tar.gz"]),
        ("six>=1.5,<2", ["six-1.5-py3-none-any.whl"]),
        ("six!=1.*", ["six-2.0.tar.gz", "six-2.1rc1.tar.gz"]),
        ("Six (>=2)", ["six-2.0.tar.gz", "six-2.1rc1.tar.gz"]),
        ("six==2.1rc1", ["six-2.1rc1.tar.gz"]),
        ("six===1.0", ["six-1.0.tar.gz"]),
    ],
)
def test_requirements_select_the_files_of_their_versions(entry: str, kept: list[str]) -> None:
    select = selection(entry)
    assert not select.needs_list
    assert select.named == ("six",)
    names = ["six-1.0.tar.gz", "six-1.5-py3-none-any.whl", "six-2.0.tar.gz", "six-2.1rc1.tar.gz"]
    assert chosen(select, "six", *names) == kept


def test_several_requirements_of_one_project_add_up() -> None:
    select = selection("six<1.5", "six>=2")
    names = ["six-1.0.tar.gz", "six-1.5.tar.gz", "six-2.0.tar.gz"]
    assert chosen(select, "six", *names) == ["six-1.0.tar.gz", "six-2.0.tar.gz"]


@pytest.mark.parametrize("other", ["six", "s*"])
def test_an_entry_without_a_version_means_every_version(other: str) -> None:
    select = selection("six<1.5", other)
    names = ["six-1.0.tar.gz", "six-2.0.tar.gz"]
    assert chosen(select, "six", *names) == names


def test_an_excluded_requirement_takes_out_versions_and_not_the_project() -> None:
    select = selection("six", exclude=["six<2"])
    assert select.project(project("six"))
    assert chosen(select, "six", "six-1.0.tar.gz", "six-2.0.tar.gz") == ["six-2.0.tar.gz"]


def test_a_file_without_a_version_that_parses_fits_no_requirement_and_is_refused_by_none() -> None:
    odd = "six-latest.tar.gz"
    assert chosen(selection("six"), "six", odd) == [odd]
    assert chosen(selection("six>=1"), "six", odd) == []
    assert chosen(selection("six", exclude=["six>=0"]), "six", odd) == [odd]


def test_file_globs_select_and_exclude_by_name() -> None:
    names = ["six-1.0.tar.gz", "six-1.0-py3-none-any.whl", "six-1.0-cp312-cp312-win32.whl"]
    assert chosen(selection(files=["*.whl"]), "six", *names) == names[1:]
    assert chosen(selection(exclude_files=["*-win32.whl"]), "six", *names) == names[:2]
    both = selection(files=["*.whl", "*.tar.gz"], exclude_files=["*none-any*"])
    assert chosen(both, "six", *names) == [names[0], names[2]]
    assert chosen(selection("six>=2", files=["*.whl"]), "six", *names) == []


def test_file_globs_know_case() -> None:
    assert chosen(selection(files=["*.WHL"]), "six", "six-1.0-py3-none-any.whl") == []


@pytest.mark.parametrize(
    "entry",
    [
        "six>>1",
        "six=1.*",
        "six=2",
        "",
        " ",
        "-six*",
        "six; python_version>'3'",
        "a b",
        "six @ http:",
        "!six>=2",
        "!!six",
    ],
)
@pytest.mark.parametrize("key", ["projects", "exclude"])
def test_what_is_neither_name_requirement_nor_glob_is_an_error_with_its_key(
    entry: str, key: str
) -> None:
    if entry == "-six*":
        entry = "/six*"
    with pytest.raises(ConfigError, match=rf"select\.{key}: "):
        selection(**{key: [entry]}) if key != "projects" else selection(entry)


def test_what_is_excluded_can_be_taken_back_and_excluded_again() -> None:
    select = selection("s*", exclude=["s*", "!si*", "six<2", "sisu", "!sisu", "sip"])
    named = {name: select.project(project(name)) for name in ("six", "sisu", "sip", "salt")}
    assert named == {"six": True, "sisu": True, "sip": False, "salt": False}
    assert chosen(select, "six", "six-1.0.tar.gz", "six-2.0.tar.gz") == ["six-2.0.tar.gz"]
    again = selection("s*", exclude=["six<2", "!six"])
    assert chosen(again, "six", "six-1.0.tar.gz") == ["six-1.0.tar.gz"]
    assert not select.explain_project(project("sip")).selected
    assert select.explain_project(project("sisu")).selected
    with pytest.raises(ConfigError, match="only 'exclude' can take back"):
        selection("six", "!six")


@given(st.text(max_size=30))
def test_any_entry_is_read_or_refused_with_a_config_error(entry: str) -> None:
    try:
        select = selection(entry)
    except ConfigError:
        return
    select.project(project("six"))
    chosen(select, "six", "six-1.0.tar.gz")


def test_the_digest_of_the_selection_covers_what_is_selected_from_where() -> None:
    base = parse({}, Path("/x.toml"))
    assert (
        Selection(base).digest
        == Selection(parse({"download": {"tries": 1}}, Path("/x.toml"))).digest
    )
    others = [
        {"select": {"projects": ["six"]}},
        {"select": {"exclude": ["six"]}},
        {"select": {"files": ["*.whl"]}},
        {"select": {"exclude_files": ["*.whl"]}},
        {"upstream": [{"name": "pypi", "url": "http://127.0.0.1/"}]},
    ]
    digests = {Selection(parse(values, Path("/x.toml"))).digest for values in others}
    assert len(digests | {Selection(base).digest}) == len(others) + 1


def linked(select: Selection, name: str, *filenames: str) -> list[str]:
    offered = [File(filename, f"http://127.0.0.1/{filename}") for filename in filenames]
    verdicts = select.linked(project(name), offered)
    return [filename for filename, v in zip(filenames, verdicts, strict=True) if v]


def test_what_is_metadata_only_is_named_as_projects_are(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("idna\nnot-selected\n")
    select = selection(
        *("six", "idna", "attrs", "zope.a"),
        metadata_only=["Six<2", f"@{tmp_path}/names.txt", "zope.*"],
        rules=[{"projects": ["zope.a"], "metadata_only": False}],
    )
    assert linked(select, "six", "six-1.0.zip", "six-2.0.zip", "six-x.zip") == ["six-1.0.zip"]
    assert linked(select, "idna", "idna-1.0.zip") == ["idna-1.0.zip"]
    assert linked(select, "attrs", "attrs-1.0.zip") == []
    assert linked(select, "zope-a", "zope.a-1.0.zip") == []
    assert linked(select, "zope-b", "zope.b-1.0.zip") == ["zope.b-1.0.zip"]
    (verdict,) = select.linked(project("six"), [File("six-1.0.zip", "http://127.0.0.1/")])
    assert verdict is not None
    assert (verdict.rule, verdict.fact) == ("select.metadata_only", "'Six<2' names version 1.0")


def test_metadata_only_selects_nothing_by_itself() -> None:
    with pytest.raises(ConfigError, match="'idna' names a project that is not selected"):
        selection("six", metadata_only=["idna"])
    with pytest.raises(ConfigError, match="not selected"):
        selection("idna", exclude=["idna"], metadata_only=["idna"])


@pytest.mark.parametrize(
    "select", [{"metadata_only": ["*"]}, {"rules": [{"projects": ["*"], "metadata_only": True}]}]
)
def test_no_page_can_lead_to_a_directory_of_this_machine(select: dict[str, Any]) -> None:
    local = {"name": "local", "url": "file:///srv/simple/"}
    with pytest.raises(ConfigError, match="a directory of this machine"):
        parse({"select": select, "upstream": [local]}, Path("/x.toml"))
    both = [local, {"name": "other", "url": "http://127.0.0.1/simple/"}]
    assert parse({"select": select, "upstream": both}, Path("/x.toml"))


def test_a_changed_list_of_metadata_only_projects_is_another_selection(tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("six")
    before = selection(metadata_only=[f"@{names}"]).digest
    names.write_text("idna")
    assert selection(metadata_only=[f"@{names}"]).digest != before


@pytest.mark.parametrize(
    "entry", ["a" * 241, "A_" * 128 + "a", "a" * 300 + "==1", "a==" + "9" * 5000]
)
@pytest.mark.parametrize("kind", ["entry", "file"])
def test_a_name_or_version_that_none_can_be_is_a_mistake(
    tmp_path: Path, entry: str, kind: str
) -> None:
    """A project of such a name could have no page, and `packaging` ends at such a version."""
    if kind == "file":
        (tmp_path / "names.txt").write_text(entry)
        entry = f"-r {tmp_path / 'names.txt'}"
    (tmp_path / "pypimirror.toml").write_text(f'[select]\nprojects = ["{entry}"]\n')
    with pytest.raises(ConfigError, match="characters; shorten it"):
        Selection(load(tmp_path / "pypimirror.toml"))
