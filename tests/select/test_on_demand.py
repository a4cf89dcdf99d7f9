"""What is selected with `[on_demand]`: files that clients asked for, and what they may ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pypimirror.config.settings import Config, ConfigError, parse
from pypimirror.domain.model import File, ProjectName
from pypimirror.select.selection import Selection, policy

SIX = ProjectName("six")
WHEEL, SDIST = "six-1.0-py3-none-any.whl", "six-1.0.tar.gz"


def config(on_demand: list[str] | None = None, **select: Any) -> Config:
    names = ["*"] if on_demand is None else on_demand
    values = {"on_demand": {"projects": names}, "select": select}
    return parse(values, Path("/somewhere/pypimirror.toml"))


def files(*names: str) -> list[File]:
    return [File(name, f"http://127.0.0.1/{name}") for name in names]


def chosen(selection: Selection, *names: str) -> list[bool]:
    return selection.choose(SIX, files(*names), 1e9).selected


def test_with_on_demand_an_empty_select_selects_nothing() -> None:
    selection = Selection(config())
    assert not selection.project(SIX)
    assert not selection.needs_list
    assert selection.named == selection.besides == ()
    assert chosen(selection, WHEEL) == [False]  # also if a batch has the project all the same
    assert "no entry names" in selection.explain_project(SIX).fact
    assert Selection(config([])).project(SIX)


def test_a_star_still_selects_everything() -> None:
    selection = Selection(config(projects=["*"]))
    assert selection.project(SIX)
    assert selection.needs_list
    assert chosen(selection, WHEEL) == [True]


def test_switching_it_on_is_a_change_of_the_selection() -> None:
    """All else would stay, because a selection with the digest of everything drops nothing."""
    assert Selection(config()).digest != Selection(config([])).digest
    some = Selection(config(projects=["six"])).digest
    assert some == Selection(config([], projects=["six"])).digest


def test_exactly_the_files_that_clients_asked_for_are_selected() -> None:
    plain = Selection(config())
    selection = plain.with_asked({"six": [WHEEL], "attrs": ["attrs-1.0.tar.gz"]})
    assert chosen(selection, WHEEL, SDIST) == [True, False]
    assert selection.besides == ("six", "attrs")  # so their pages are looked at
    assert selection.named == ()  # and nobody complains if they are gone
    assert selection.unmet(SIX, files(SDIST), 1e9) == []
    assert selection.is_asked(SIX)
    assert selection.explain_project(SIX).rule == "on_demand.projects"
    (_, other) = selection.explain(SIX, files(WHEEL, SDIST), 1e9)
    assert other.fact == "no client has asked for it"
    assert selection.digest == plain.digest
    assert not plain.is_asked(SIX)  # it is a copy


def test_rules_and_exclude_decide_on_asked_files_too() -> None:
    asked = {"six": [WHEEL, SDIST], "attrs": ["attrs-1.0.tar.gz"]}
    selection = Selection(config(types=["wheel"], exclude=["attrs"])).with_asked(asked)
    assert chosen(selection, WHEEL, SDIST) == [True, False]
    assert not selection.project(ProjectName("attrs"))
    assert selection.besides == ("six",)


def test_asked_files_come_besides_what_entries_select() -> None:
    selection = Selection(config(projects=["six>=2"])).with_asked({"six": [WHEEL]})
    new = "six-2.0-py3-none-any.whl"
    assert chosen(selection, WHEEL, new, SDIST) == [True, True, False]
    assert selection.selects(SIX, new)
    assert not selection.selects(SIX, WHEEL)
    assert not selection.is_asked(SIX)
    assert selection.besides == ()
    whole = Selection(config(projects=["six"])).with_asked({"six": [WHEEL]})
    assert chosen(whole, SDIST) == [True]
    assert whole.selects(SIX, SDIST)


@pytest.mark.parametrize("select", [{}, {"projects": ["attrs"]}], ids=["nothing", "another"])
def test_the_policy_is_about_what_clients_may_ask_for(select: dict[str, Any]) -> None:
    allowed = policy(config(["s*"], types=["wheel"], exclude=["setuptools"], **select))
    assert allowed.project(SIX)
    assert chosen(allowed, WHEEL, SDIST) == [True, False]
    assert not allowed.project(ProjectName("attrs"))
    assert allowed.explain_project(ProjectName("attrs")).rule == "on_demand.projects"
    assert not allowed.project(ProjectName("setuptools"))


def test_a_policy_without_entries_allows_nothing() -> None:
    assert not policy(config([])).project(SIX)


def test_a_bad_entry_is_blamed_on_its_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"on_demand\.projects: 'a b' is no name"):
        policy(config(["a b"]))
    (tmp_path / "names.txt").write_text("# none\n")
    with pytest.raises(ConfigError, match=r"on_demand\.projects: .* names no project"):
        policy(config([f"@{tmp_path}/names.txt"]))


def test_a_project_on_demand_may_be_metadata_only() -> None:
    """Without on demand, a name that is not selected must be a mistake."""
    allowed = policy(config(metadata_only=["six"]))
    assert all(allowed.linked(SIX, files(WHEEL)))
    assert not Selection(config(metadata_only=["six"])).project(SIX)
