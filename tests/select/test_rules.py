"""The rules on files, each with what it takes, what it leaves out, why, and until when."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.config.settings import ConfigError, parse
from pypimirror.domain.formats import ENDINGS
from pypimirror.domain.model import File, ProjectName
from pypimirror.select.facts import Verdict
from pypimirror.select.selection import Selection

NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()
DAY = 86400.0
SIX = ProjectName("six")


def make(**select: Any) -> Selection:
    return Selection(parse({"select": select}, Path("/pypimirror.toml")))


def uploaded(days_ago: float) -> str:
    return datetime.fromtimestamp(NOW - days_ago * DAY, UTC).isoformat().replace("+00:00", "Z")


def offer(name: str, days_ago: float | None = 10, **more: Any) -> File:
    time = None if days_ago is None else uploaded(days_ago)
    return File(name, f"http://127.0.0.1/{name}", upload_time=time, **more)


def verdicts(selection: Selection, *files: File, now: float = NOW) -> dict[str, Verdict]:
    found = selection.explain(SIX, files, now)
    assert selection.choose(SIX, files, now).selected == [v.selected for v in found]
    return {file.filename: verdict for file, verdict in zip(files, found, strict=True)}


def taken(selection: Selection, *files: File | str, now: float = NOW) -> list[str]:
    offered = [offer(file) if isinstance(file, str) else file for file in files]
    return [name for name, v in verdicts(selection, *offered, now=now).items() if v.selected]


SDIST, WHEEL = "six-1.0.tar.gz", "six-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("files", ["/-cp3(11|12)-/"], ["six-1.0-cp312-cp312-win_amd64.whl"]),
        ("exclude_files", ["/whl$/"], [SDIST, "six-1.0.egg", "six-2.0rc1.zip"]),
        ("versions", [">=1.5"], ["six-2.0rc1.zip"]),
        ("versions", ["1.*"], [SDIST, WHEEL, "six-1.0-cp312-cp312-win_amd64.whl", "six-1.0.egg"]),
        ("exclude_versions", ["/rc[0-9]+$/"],
         [SDIST, WHEEL, "six-1.0-cp312-cp312-win_amd64.whl", "six-1.0.egg"]),
        ("types", ["sdist"], [SDIST, "six-2.0rc1.zip"]),
        ("types", ["wheel", "other"], [WHEEL, "six-1.0-cp312-cp312-win_amd64.whl", "six-1.0.egg"]),
        ("prereleases", False, [SDIST, WHEEL, "six-1.0-cp312-cp312-win_amd64.whl", "six-1.0.egg"]),
        ("python", ["3.11"], [SDIST, WHEEL, "six-1.0.egg", "six-2.0rc1.zip"]),
        ("platforms", ["any"], [SDIST, WHEEL, "six-1.0.egg", "six-2.0rc1.zip"]),
        ("abi", ["cp312"], [SDIST, "six-1.0-cp312-cp312-win_amd64.whl", "six-1.0.egg",
                            "six-2.0rc1.zip"]),
        ("latest", 1, ["six-2.0rc1.zip"]),
        ("max_versions", 2, [SDIST, WHEEL, "six-1.0-cp312-cp312-win_amd64.whl", "six-1.0.egg",
                             "six-2.0rc1.zip"]),
        ("max_versions", 1, []),
        ("min_versions", 2, [SDIST, WHEEL, "six-1.0-cp312-cp312-win_amd64.whl", "six-1.0.egg",
                             "six-2.0rc1.zip"]),
        ("min_versions", 3, []),
    ],
)  # fmt: skip
def test_each_key_keeps_what_it_says(key: str, value: object, kept: list[str]) -> None:
    files = [offer(n) for n in (SDIST, WHEEL, "six-1.0-cp312-cp312-win_amd64.whl", "six-1.0.egg",
                                "six-2.0rc1.zip")]  # fmt: skip
    found = verdicts(make(**{key: value}), *files)
    assert [name for name, verdict in found.items() if verdict.selected] == kept
    for verdict in found.values():
        assert verdict.selected or (verdict.rule == f"select.{key}" and verdict.fact)


def test_a_tar_in_any_compression_is_an_sdist() -> None:
    tars = [f"six-1.0{ending}" for ending in ENDINGS if ending.startswith((".t", ".zip"))]
    assert taken(make(types=["sdist"]), *tars, WHEEL, "six-1.0.egg") == tars


def test_requires_python_leaves_out_what_no_declared_python_could_install() -> None:
    files = [
        offer(SDIST, requires_python=">=3.12"),
        offer("six-2.0.tar.gz", requires_python=">=3.8"),
    ]
    assert taken(make(python=["3.11"]), *files) == ["six-2.0.tar.gz"]


def test_yanked_files_stay_out_when_told_so() -> None:
    files = [offer(SDIST, yanked="broken"), offer("six-2.0.tar.gz", yanked=""), offer(WHEEL)]
    found = verdicts(make(yanked=False), *files)
    assert [v.selected for v in found.values()] == [False, False, True]
    assert "broken" in found[SDIST].fact
    assert taken(make(), *files) == [file.filename for file in files]


def test_sizes_that_are_not_known_pass() -> None:
    files = [offer(SDIST, size=10 << 20), offer(WHEEL, size=1 << 20), offer("six-2.0.tar.gz")]
    assert taken(make(max_file_size="5 MiB"), *files) == [WHEEL, "six-2.0.tar.gz"]
    assert taken(make(max_project_size="11 MiB"), *files) == [f.filename for f in files]
    assert taken(make(max_project_size="10 MiB"), *files) == []


def test_a_file_that_is_too_young_waits_and_it_is_said_until_when() -> None:
    selection = make(older_than="7d")
    files = [offer(SDIST, 3), offer(WHEEL, 8), offer("six-2.0.tar.gz", None)]
    found = verdicts(selection, *files)
    assert [v.selected for v in found.values()] == [False, True, False]
    assert found[SDIST].until == pytest.approx(NOW + 4 * DAY)
    assert found["six-2.0.tar.gz"].until is None  # its age is never known
    assert "no upload time" in found["six-2.0.tar.gz"].fact
    assert selection.choose(SIX, files, NOW).until == pytest.approx(NOW + 4 * DAY)
    assert taken(selection, *files, now=NOW + 4 * DAY) == [SDIST, WHEEL]


def test_a_file_that_is_too_old_is_dropped_and_it_is_said_when() -> None:
    selection = make(younger_than="7d")
    found = verdicts(selection, offer(SDIST, 3), offer(WHEEL, 8))
    assert found[SDIST].selected
    assert found[SDIST].until == pytest.approx(NOW + 4 * DAY)
    assert not found[WHEEL].selected
    assert taken(selection, offer(SDIST, 3), now=NOW + 4 * DAY) == []


def test_the_youngest_of_the_releases_that_are_too_old_stay_where_there_are_few() -> None:
    files = [offer("six-1.0.tar.gz", 90), offer("six-2.0.tar.gz", 30), offer("six-3.0.tar.gz", 20),
             offer("six-3.0-py3-none-any.whl", 19), offer("six-4.0.tar.gz", 5)]  # fmt: skip
    names = [file.filename for file in files]
    assert taken(make(younger_than="7d"), *files) == names[4:]
    assert taken(make(younger_than="7d", at_least=1), *files) == names[4:]
    assert taken(make(younger_than="7d", at_least=2), *files) == names[2:]
    assert taken(make(younger_than="7d", at_least=9), *files) == names
    assert taken(make(younger_than="25d", at_least=2), *files) == names[2:]
    # Only what nothing else leaves out, and the newest of all that, if that is asked for.
    rules = {"younger_than": "7d", "at_least": 3, "exclude_versions": ["3.*"]}
    assert taken(make(**rules), *files) == [names[0], names[1], names[4]]
    assert taken(make(**rules, latest=2), *files) == [names[1], names[4]]
    never = [offer("six-1.0.tar.gz", None)]
    assert taken(make(younger_than="7d", at_least=2), *never) == []


def test_upload_windows_take_dates_and_moments() -> None:
    files = [offer(f"six-{days}.tar.gz", days) for days in (1, 10, 40)]
    window = make(
        uploaded_after=datetime(2026, 5, 1).date(), uploaded_before="2026-05-30T12:00:00Z"
    )
    assert taken(window, *files) == ["six-10.tar.gz"]


def test_latest_counts_what_the_other_keys_let_through() -> None:
    files = ["six-1.0.tar.gz", "six-1.5.tar.gz", "six-1.5-py3-none-any.whl", "six-2.0rc1.tar.gz",
             "six-latest.tar.gz"]  # fmt: skip
    assert taken(make(latest=1, prereleases=False), *files) == files[1:3]
    assert taken(make(latest=2), *files) == files[1:4]
    assert taken(make(projects=["six<2"], latest=1), *files) == files[1:3]


def test_latest_by_time_goes_by_the_first_upload_of_a_release() -> None:
    files = [offer("six-2.0.tar.gz", 50), offer("six-2.0-py3-none-any.whl", 1), offer(SDIST, 5)]
    assert taken(make(latest=1, latest_by="time"), *files) == [SDIST]
    assert taken(make(latest=1), *files) == ["six-2.0.tar.gz", "six-2.0-py3-none-any.whl"]


def test_of_several_rules_the_last_that_has_a_key_decides_on_it() -> None:
    rules = [
        {"projects": ["s*"], "latest": 1, "prereleases": False},
        {"projects": ["six"], "latest": 2},
        {"projects": ["other"], "latest": 9},
    ]
    files = ["six-1.0.tar.gz", "six-2.0.tar.gz", "six-3.0.tar.gz", "six-4.0b1.tar.gz"]
    selection = make(rules=rules, latest=3)
    found = verdicts(selection, *(offer(name) for name in files))
    assert [name for name, verdict in found.items() if verdict.selected] == files[1:3]
    assert found[files[0]].rule == "select.rules[1].latest"
    assert found[files[3]].rule == "select.rules[0].prereleases"
    others = [offer(name.replace("six", "idna")) for name in files]
    assert selection.choose(ProjectName("idna"), others, NOW).selected == [False, True, True, True]


def test_a_project_is_explained_by_the_entry_that_names_it() -> None:
    selection = make(projects=["zope.*", "six"], exclude=["zope.testing", "/-old$/", "six<1"])
    assert selection.explain_project(SIX) == Verdict(
        True, "select.projects", "'six' names the project"
    )
    for name in ("zope-testing", "zope-old"):
        verdict = selection.explain_project(ProjectName(name))
        assert (verdict.selected, verdict.rule) == (False, "select.exclude")
    assert not selection.explain_project(ProjectName("idna")).selected


@pytest.mark.parametrize(
    ("select", "told"),
    [
        ({"python": ["three"]}, r"^/pypimirror\.toml: select\.python: 'three' is no version of CP"),
        ({"platforms": ["linux"]}, r"select\.platforms: 'linux' is no platform tag"),
        ({"versions": ["/(/"]}, r"select\.versions: '/\(/' is no regular expression"),
        ({"files": ["/x"]}, r"select\.files: '/x': a regular expression must be between"),
        ({"projects": ["a b"]}, r"^/pypimirror\.toml: select\.projects: 'a b' is no name"),
        ({"projects": ["a"], "metadata_only": ["b"]}, r"^/pypimirror\.toml: select\.metadata_only"),
        ({"rules": [{"projects": ["a b"]}]}, r"toml: select\.rules\[0\]\.projects: 'a b'"),
        ({"rules": [{"projects": ["a"], "python": ["x"]}]}, r"toml: select\.rules\[0\]\.python: "),
        ({"rules": [{"projects": []}]}, r"select\.rules\.0\.projects"),
        ({"rules": [{"projects": ["a"], "latets": 1}]}, "did you mean 'latest'"),
        ({"older_than": 7}, r"select\.older_than"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_its_key(select: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        make(**select)


def test_what_the_environment_says_is_not_blamed_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "environment: PYPIMIRROR_SELECT__PYTHON: select.python: 'x' is no version"
    monkeypatch.setenv("PYPIMIRROR_SELECT__PYTHON", '["x"]')
    with pytest.raises(ConfigError, match=f"^{told}"):
        make(projects=["six"])
    monkeypatch.delenv("PYPIMIRROR_SELECT__PYTHON")
    listed = tmp_path / "list.txt"
    listed.write_text("a b\n")  # a list is named with its line, and needs no more
    with pytest.raises(ConfigError, match=rf"^{listed}:1: 'a b' is no name"):
        make(projects=[f"@{listed}"])


NAMES = st.sampled_from(
    [SDIST, WHEEL, "six-1.0-cp312-cp312-win_amd64.whl", "six-2.0rc1.tar.gz", "six-2.0.tar.gz",
     "six-3.0-cp311-cp311-manylinux_2_17_x86_64.whl", "six-odd.zip", "six-1.5.win32.exe"]
)  # fmt: skip
FILES = st.lists(
    st.builds(
        lambda name, age, size, yanked: offer(name, age, size=size, yanked=yanked),
        NAMES,
        st.one_of(st.none(), st.floats(0, 100)),
        st.one_of(st.none(), st.integers(0, 1 << 30)),
        st.one_of(st.none(), st.just("broken")),
    ),
    max_size=8,
    unique_by=lambda file: file.filename,
)
KEYS = st.fixed_dictionaries(
    {},
    optional={
        "python": st.just(["3.12"]),
        "platforms": st.sampled_from([["any"], ["win_amd64", "any"]]),
        "types": st.sampled_from([["wheel"], ["sdist"]]),
        "prereleases": st.booleans(),
        "yanked": st.booleans(),
        "older_than": st.just("7d"),
        "younger_than": st.just("60d"),
        "at_least": st.integers(0, 3),
        "latest": st.integers(0, 3),
        "latest_by": st.sampled_from(["version", "time"]),
        "min_versions": st.integers(0, 3),
        "max_versions": st.integers(0, 3),
        "max_project_size": st.sampled_from(["1 MiB", "1 GiB"]),
        "versions": st.sampled_from([["1.*"], [">=2"]]),
    },
)


@given(keys=KEYS, files=FILES)
def test_a_choice_holds_until_the_time_that_it_names(
    keys: dict[str, Any], files: list[File]
) -> None:
    selection = make(**keys)
    choice = selection.choose(SIX, files, NOW)
    if choice.until is None:
        later = NOW + 1000 * DAY
    else:
        assert choice.until > NOW
        later = choice.until - 0.001
    assert selection.choose(SIX, files, later).selected == choice.selected


@given(keys=KEYS, files=FILES)
def test_the_order_of_files_decides_nothing(keys: dict[str, Any], files: list[File]) -> None:
    selection = make(**keys)
    forward = zip(files, selection.choose(SIX, files, NOW).selected, strict=True)
    backward = zip(files[::-1], selection.choose(SIX, files[::-1], NOW).selected, strict=True)
    assert {f.filename: s for f, s in forward} == {f.filename: s for f, s in backward}
