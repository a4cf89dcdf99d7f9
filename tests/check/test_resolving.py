"""What an installer finds that knows the mirror alone, in an environment that is declared."""

from __future__ import annotations

import pytest

from pypimirror.check import index
from pypimirror.check.outcome import CheckState, Gap, GapKind
from pypimirror.check.resolving import RequirementsChecker
from pypimirror.check.subjects import of_texts
from pypimirror.check.targets import Target
from pypimirror.resolve import uv
from tests.check.conftest import LINUX, WINDOWS, Checking, Tree
from tests.corpus.build import make_wheel


def only(found: tuple[Gap, ...]) -> Gap:
    """The one thing that is missing."""
    (gap,) = found
    return gap


def test_what_is_here_with_all_that_it_needs_is_complete(tree: Tree, checked: Checking) -> None:
    tree.wheel("app", "1.0", "base>=1", "never; sys_platform == 'win32'", "more; extra == 'm'")
    tree.wheel("base", "1.5")
    tree.wheel("more", "2.0")
    assert checked("app").state is CheckState.COMPLETE
    found = checked("app[m]")
    assert (found.state, found.releases) == (CheckState.COMPLETE, 3)


def test_a_wheel_without_core_metadata_beside_it_is_read(tree: Tree, checked: Checking) -> None:
    """Fault: uv asks for such a wheel by HEAD first, and got an error."""
    tree.put("app", *make_wheel("app", "1.0", requires=["base"]))
    tree.wheel("base", "1.0")
    found = checked("app")
    assert (found.state, found.releases) == (CheckState.COMPLETE, 2)


def test_a_project_that_is_not_here_is_told_with_who_needs_it(
    tree: Tree, checked: Checking
) -> None:
    """Mirroring hatchling without tomlkit was found at the outage."""
    tree.wheel("app", "1.0", "middle")
    tree.wheel("middle", "3.1", "tomlkit>=0.11")
    gap = only(checked("app").gaps)
    assert (gap.kind, gap.project, gap.requirement) == (GapKind.PROJECT, "tomlkit", "tomlkit>=0.11")
    assert gap.chain == ("app 1.0", "middle 3.1")


def test_all_that_is_missing_is_told_at_once(tree: Tree, checked: Checking) -> None:
    tree.wheel("app", "1.0", "first", "second>3", "third")
    tree.wheel("second", "3.0")
    tree.wheel("third", "1.0", tag="cp312-cp312-win_amd64")
    found = checked("app")
    assert {gap.project: gap.kind for gap in found.gaps} == {
        "first": GapKind.PROJECT,
        "second": GapKind.VERSION,
        "third": GapKind.PLATFORM,
    }
    assert "the newest here is 3.0" in next(g.message for g in found.gaps if g.project == "second")


def test_a_release_that_requires_an_address_hides_nothing_that_is_missing(
    tree: Tree, checked: Checking
) -> None:
    """uv refuses such a release with other words than those for all that has no solution."""
    tree.wheel("app", "1.0", "base @ https://example.invalid/base-1-py3-none-any.whl")
    tree.wheel("other", "1.0", "none")
    tree.wheel("base", "1.0")
    assert only(checked("app", "other").gaps).project == "none"
    gap = only(checked("app").gaps)
    assert gap.kind == GapKind.CONFLICT
    assert "app==1.0" in gap.message and "URL" in gap.message


def test_each_environment_needs_its_own_wheels(tree: Tree, checked: Checking) -> None:
    tree.wheel("native", "1.0", tag="cp312-cp312-win_amd64")
    assert checked("native", target=WINDOWS).state is CheckState.COMPLETE
    assert only(checked("native", target=LINUX).gaps).kind is GapKind.PLATFORM


def test_a_python_without_the_gil_needs_its_own_wheels(tree: Tree, checked: Checking) -> None:
    """uv cannot resolve for it, so each release that uv chooses is held against its tags."""
    tree.wheel("native", "1.0", tag="cp313-cp313-win_amd64")
    assert checked("native", target=Target("3.13", "win_amd64")).state is CheckState.COMPLETE
    found = checked("native", target=Target("3.13t", "win_amd64"))
    assert only(found.gaps).kind is GapKind.PLATFORM


def test_a_release_for_another_python_does_not_count(tree: Tree, checked: Checking) -> None:
    tree.wheel("late", "1.0", python=">=3.13")
    gap = only(checked("late").gaps)
    assert gap.kind is GapKind.PYTHON and ">=3.13" in gap.message


def test_a_python_without_a_patch_stands_for_its_last_one(tree: Tree, checked: Checking) -> None:
    tree.wheel("picky", "1.0", python=">=3.12.4")
    assert checked("picky").state is CheckState.COMPLETE


def test_what_goes_together_with_nothing_here_is_a_conflict(tree: Tree, checked: Checking) -> None:
    tree.wheel("one", "1.0", "base<2")
    tree.wheel("two", "1.0", "base>=2")
    tree.wheel("base", "1.0")
    tree.wheel("base", "2.0")
    gap = only(checked("one", "two").gaps)
    assert gap.kind is GapKind.CONFLICT and "base" in gap.message and gap.project == ""


def test_what_pages_lead_to_elsewhere_is_not_here(tree: Tree, checked: Checking) -> None:
    tree.link("far", "far-1.0-py3-none-any.whl", "http://127.0.0.1:9/far.whl", "0" * 64)
    assert only(checked("far").gaps).kind is GapKind.AWAY


def test_a_page_whose_bytes_are_gone_does_not_count(tree: Tree, checked: Checking) -> None:
    tree.wheel("gone", "1.0")
    (tree.root / "packages/gone/gone-1.0-py3-none-any.whl").unlink()
    gap = only(checked("gone").gaps)
    assert gap.kind is GapKind.LOST and "gone-1.0-py3-none-any.whl" in gap.message


def test_a_page_that_cannot_be_read_is_not_taken_for_a_project_that_is_missing(
    tree: Tree, checked: Checking
) -> None:
    tree.wheel("torn", "1.0")
    (tree.root / "simple/torn/index.v1_json").write_text("{")
    assert only(checked("torn").gaps).kind is GapKind.LOST


def test_a_yanked_release_counts_only_where_it_is_pinned(tree: Tree, checked: Checking) -> None:
    tree.wheel("bad", "1.0", yanked="broken")
    assert checked("bad==1.0").state is CheckState.COMPLETE
    gap = only(checked("bad>=1").gaps)
    assert gap.kind is GapKind.VERSION and "yanked" in gap.message


def test_what_is_only_an_sdist_needs_what_builds_it(tree: Tree, checked: Checking) -> None:
    """Found by trying: the build requirement was not among what was mirrored."""
    tree.sdist("source", "1.0", build=["backend>=2"], form="2.2")
    gap = only(checked("source").gaps)
    assert (gap.kind, gap.requirement) == (GapKind.PROJECT, "backend>=2")
    assert gap.chain == ("source 1.0 (to build source-1.0.tar.gz)",)
    tree.wheel("backend", "2.0", "deep")
    assert only(checked("source").gaps).project == "deep"
    tree.sdist("deep", "1.0", build=["deeper"], form="2.2")
    assert only(checked("source").gaps).project == "deeper"
    tree.wheel("deeper", "1.0")
    assert checked("source").state is CheckState.COMPLETE


def test_no_code_of_a_package_runs_to_learn_what_it_needs(tree: Tree, checked: Checking) -> None:
    """Promise: a check is no install; what only a build can tell is listed, not guessed."""
    tree.sdist("secret", "1.0", form="2.1")
    gap = only(checked("secret").gaps)
    assert (gap.kind, gap.file) == (GapKind.UNKNOWN, "secret-1.0.tar.gz")
    # An installer takes the newest, whatever older release says what it needs.
    tree.wheel("secret", "0.9")
    gap = only(checked("secret").gaps)
    assert (gap.kind, gap.requirement) == (GapKind.UNKNOWN, "secret==1.0")
    tree.wheel("secret", "1.1")
    assert checked("secret").state is CheckState.COMPLETE


def test_an_sdist_that_one_set_would_build_is_no_gap_of_a_set_that_does_not_allow_it(
    tree: Tree,
) -> None:
    tree.sdist("secret", "1.0", form="2.1")
    tree.wheel("secret", "0.9")
    with index.served(tree.shelf()) as served:
        checker = RequirementsChecker(uv.find(), served, asks_pip=False)
        for text, state in (("secret", CheckState.MISSING), ("secret<1", CheckState.COMPLETE)) * 2:
            assert checker.check(of_texts([text]), LINUX).state is state, text


def test_a_platform_that_uv_does_not_know_is_told_and_not_guessed(
    tree: Tree, checked: Checking
) -> None:
    tree.wheel("base", "1.0")
    found = checked("base", target=Target("3.12", "musllinux_1_1_x86_64"))
    assert found.state is CheckState.NOT_CHECKED
    assert "musllinux_1_1_x86_64" in found.notes[0]


@pytest.mark.parametrize("wanted", [("base",), ("base>1",)])
def test_a_mirror_of_html_alone_and_one_of_json_alone_are_read(
    tree: Tree, checked: Checking, wanted: tuple[str, ...]
) -> None:
    tree.wheel("base", "2.0")
    assert checked(*wanted).state is CheckState.COMPLETE
    page = tree.root / "simple/base/index.v1_json"
    page.unlink()
    name = "base-2.0-py3-none-any.whl"
    (page.parent / "index.html").write_text(f'<a href="../../packages/base/{name}">{name}</a>')
    assert checked(*wanted).state is CheckState.COMPLETE
