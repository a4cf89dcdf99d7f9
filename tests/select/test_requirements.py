"""Requirements files, and files of names."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.config.settings import ConfigError, parse
from pypimirror.domain.model import File, ProjectName
from pypimirror.select import entries, requirements
from pypimirror.select.environments import Environments
from pypimirror.select.patterns import EntryError
from pypimirror.select.requirements import RequirementsError
from pypimirror.select.selection import Selection

ONE, TWO = "1" * 64, "2" * 64


def required(path: Path) -> list[str]:
    return [str(item.requirement) for item in requirements.read(path)]


def test_what_pip_reads_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINNED", "2.0")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "base.txt").write_text("attrs\n-c ../constraints.txt\n")
    (tmp_path / "constraints.txt").write_text("idna<4\nnobody<1\n")
    (tmp_path / "all.txt").write_text(
        "# a comment \\\n"
        "--index-url http://127.0.0.1:9/simple/\n"
        "-r more/base.txt\n"
        "six==1.16.0 \\\n"
        f"    --hash=sha256:{ONE} \\\n"
        f"    --hash=sha256:{TWO.upper()}\n"
        "idna >= 3  # another\n"
        "zope.interface[test]==${PINNED}; python_version < '3'\n"
        "-e .\n"
        "./local/thing\n"
        "six-1.0-py3-none-any.whl\n"  # which could be a name
        "thing @ http://127.0.0.1:9/thing.zip\n"
    )
    assert required(tmp_path / "all.txt") == [
        "attrs",
        "six==1.16.0",
        "idna<4,>=3",
        'zope.interface[test]==2.0; python_version < "3"',
    ]
    pinned = next(i for i in requirements.read(tmp_path / "all.txt") if i.hashes)
    assert pinned.hashes == {("sha256", ONE), ("sha256", TWO)}
    assert pinned.source == f"{tmp_path / 'all.txt'}:4"


@pytest.mark.parametrize(
    "line",
    [
        *("--index-url https://me:secret@h/simple", "-i https://me:secret@h", "--no-index"),
        *("--extra-index-url=https://me:secret@h", "-f https://me:secret@h/", "--find-links x"),
        *("-e git+https://me:secret@h/six", "six @ https://me:secret@h/six.zip", "--editable ."),
    ],
)
def test_where_something_else_is_to_be_found_is_ignored_aloud_and_no_login_shown(
    tmp_path: Path, line: str
) -> None:
    (tmp_path / "r.txt").write_text(f"idna\n{line}\n")
    told: list[str] = []
    found = list(requirements.read(tmp_path / "r.txt", told.append))
    assert [str(item.requirement) for item in found] == ["idna"]
    assert len(told) == 1
    assert told[0].startswith(f"{tmp_path / 'r.txt'}:2: ")
    assert "secret" not in told[0]


@pytest.mark.parametrize("digest", ["sha256:12", "sha256", "sha256:" + "z" * 64, "crc32:12345678"])
def test_a_digest_that_cannot_be_read_is_not_passed_over(tmp_path: Path, digest: str) -> None:
    """To pass over one would allow other bytes than are meant."""
    (tmp_path / "r.txt").write_text(f"six==1.0 --hash={digest}\n")
    with pytest.raises(ConfigError, match=r"r\.txt:1: "):
        select(tmp_path, "-r r.txt")


@pytest.mark.parametrize(
    ("text", "told"),
    [("six=1", r"r\.txt:1: 'six=1' is no requirement"), ("-r r.txt", "includes itself"),
     ("-r other.txt", r"other\.txt: cannot be read"), ("a b", "is no requirement")],
)  # fmt: skip
def test_a_fault_names_file_and_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "r.txt").write_text(text)
    with pytest.raises(RequirementsError, match=told):
        required(tmp_path / "r.txt")
    with pytest.raises(ConfigError, match=told):
        select(tmp_path, "-r r.txt")


@pytest.mark.parametrize(
    "line",
    [
        *("--index-url https://me:it's-secret@h/", "-r https://me:secret@h/six.txt"),
    ],
)
def test_a_fault_shows_no_login(tmp_path: Path, line: str) -> None:
    (tmp_path / "all.txt").write_text(line)
    with pytest.raises(RequirementsError) as raised:
        required(tmp_path / "all.txt")
    assert "secret@" not in str(raised.value)


@pytest.mark.parametrize("entry", ["six @ https://me:secret@h/six.zip", "https://me:secret@h/six"])
def test_a_fault_of_an_entry_shows_no_login(entry: str) -> None:
    with pytest.raises(EntryError) as raised:
        entries.read([entry], "select.projects", Environments())
    assert "secret" not in str(raised.value)


@given(text=st.text(max_size=80))
def test_any_text_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_text(text.encode("utf-8", "replace").decode())
    try:
        required(path)
    except RequirementsError as error:
        assert str(error)


def select(base: Path, *projects: str, **more: object) -> Selection:
    values = {"select": {"projects": list(projects), **more}}
    return Selection(parse(values, base / "pypimirror.toml"))


def test_files_are_relative_to_the_configuration_and_stand_for_what_they_have(
    tmp_path: Path,
) -> None:
    (tmp_path / "r.txt").write_text(
        "six==1.16.0; sys_platform == 'linux'\ncolorama; os_name == 'nt'\n"
    )
    (tmp_path / "names.txt").write_text("# ours\nzope.*\n\nrequests>=2  # new ones\n/^acme-/\n")
    everywhere = select(tmp_path, "-r r.txt", "@names.txt")
    assert everywhere.named == ("six", "colorama", "requests")
    assert everywhere.needs_list
    assert everywhere.project(ProjectName("acme-tools"))
    assert not everywhere.project(ProjectName("other"))
    linux = select(tmp_path, "-r r.txt", platforms=["manylinux_2_28_x86_64", "any"])
    assert linux.named == ("six",)
    assert not linux.needs_list
    excluded = select(tmp_path, exclude=["@names.txt"])
    assert not excluded.project(ProjectName("zope-interface"))


def test_what_a_file_says_is_part_of_what_is_selected(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text("six\n")
    before = select(tmp_path, "-r r.txt").digest
    assert select(tmp_path, "-r r.txt").digest == before
    (tmp_path / "r.txt").write_text("six\nidna\n")
    assert select(tmp_path, "-r r.txt").digest != before


def test_hashes_select_the_files_that_have_them(tmp_path: Path) -> None:
    (tmp_path / "r.txt").write_text(f"six==1.0 --hash=sha256:{ONE}\n")
    offered = [
        File("six-1.0.tar.gz", "http://127.0.0.1/a", {"sha256": ONE}),
        File("six-1.0-py3-none-any.whl", "http://127.0.0.1/b", {"sha256": TWO}),
        File("six-1.0.zip", "http://127.0.0.1/c", {"md5": "0" * 32}),  # cannot be told
        File("six-2.0.tar.gz", "http://127.0.0.1/d", {"sha256": ONE}),
    ]
    chosen = select(tmp_path, "-r r.txt").choose(ProjectName("six"), offered, 0.0).selected
    assert chosen == [True, False, True, False]


@pytest.mark.parametrize("entry", ["@names", "-r names"])
def test_a_file_without_a_name_does_not_stand_for_every_project(tmp_path: Path, entry: str) -> None:
    (tmp_path / "names").write_text("# six\n")
    config = parse({"select": {"projects": [entry]}}, tmp_path / "pypimirror.toml")
    with pytest.raises(ConfigError, match="names no project"):
        Selection(config)


def test_what_keeps_a_file_out_is_told_as_it_is(tmp_path: Path) -> None:
    """A digest is not a version, and a file without a version has none."""
    (tmp_path / "r.txt").write_text(f"six==1.0 --hash=sha256:{ONE}\n")
    selection = select(tmp_path, "-r r.txt")
    six = ProjectName("six")
    file = File("six-1.0.tar.gz", "http://127.0.0.1/", {"sha256": TWO})
    (verdict,) = selection.explain(six, [file], 0)
    assert not verdict.selected
    assert verdict.fact.startswith("none of the digests that are asked for of six==1.0 is its own")
    assert TWO in verdict.fact
    other = File("six-2.0.tar.gz", "http://127.0.0.1/", {"sha256": ONE})
    assert selection.explain(six, [other], 0)[0].fact == "version 2.0 is none of six==1.0"
    odd = File("six.zip", "http://127.0.0.1/", {"sha256": ONE})
    assert selection.explain(six, [odd], 0)[0].fact.startswith("its name has no version")


@pytest.mark.parametrize(
    "line",
    [
        *("-rbase.txt", "-r base.txt", "--requirement=base.txt", "--requirement base.txt"),
        *("--requirem base.txt", "--requireme=base.txt"),
        *("-r 'base.txt'", '-r"base.txt"', '--requirement="base.txt"', "--no-index -r base.txt"),
        *("-r ba\\\nse.txt", "-r ${BASE}", "-r file://{here}/base.txt"),
    ],
)
def test_a_file_is_included_however_that_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setenv("BASE", "base.txt")
    (tmp_path / "base.txt").write_text("idna\n")
    (tmp_path / "all.txt").write_text(line.replace("{here}", str(tmp_path)) + "\nsix\n")
    assert required(tmp_path / "all.txt") == ["idna", "six"]


def test_a_name_with_spaces_is_quoted(tmp_path: Path) -> None:
    (tmp_path / "a b.txt").write_text("idna\n")
    (tmp_path / "all.txt").write_text("-c 'a b.txt'\n-r \"a b.txt\"\n")
    assert required(tmp_path / "all.txt") == ["idna"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("-r", "names no file"),
        ("--req base.txt", "--requirement or --require-hashes"),
        ("--con=base.txt", "--constraint or --config-settings"),
        ("-r 'a", "No closing quotation"),
        ("-r http://127.0.0.1:9/r.txt", "only files are read"),
    ],
)
def test_what_cannot_be_included_is_told(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "all.txt").write_text(line)
    with pytest.raises(RequirementsError, match=rf"all\.txt:1: .*{told}"):
        required(tmp_path / "all.txt")


def test_lines_are_joined_as_pip_joins_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMPTY", "")
    half = "1" * 32
    (tmp_path / "r.txt").write_text(f"si\\\nx==1.0 --hash=sha256:{half}\\\n{half}\n")
    (item,) = requirements.read(tmp_path / "r.txt")
    assert (str(item.requirement), item.hashes) == ("six==1.0", {("sha256", ONE)})
    (tmp_path / "r.txt").write_text("six==${EMPTY}\n")
    with pytest.raises(RequirementsError, match="EMPTY"):  # pip leaves it as it is, too
        required(tmp_path / "r.txt")


def test_a_constraint_holds_where_its_marker_is_met(tmp_path: Path) -> None:
    """One that is for other Pythons must not empty what these need."""
    (tmp_path / "c.txt").write_text(
        "six<1.10; python_version < '3'\n"
        "idna==3.6; python_version < '3.12'\nidna==3.7; python_version >= '3.12'\n"
    )
    (tmp_path / "r.txt").write_text("-c c.txt\nsix\nidna>=3; sys_platform != 'win32'\n")
    chosen = {
        tuple(python): {(e.name, str(e.versions or "")) for e in entries.read(
            [f"-r {tmp_path / 'r.txt'}"], "select.projects", Environments(python))}
        for python in (["3.11"], ["3.13"], ["2.7"], ["3.11", "3.13"])
    }  # fmt: skip
    six, old, new = ("six", ""), ("idna", "==3.6,>=3"), ("idna", "==3.7,>=3")
    assert chosen[("3.11",)] == {six, old}
    assert chosen[("3.13",)] == {six, new}
    assert chosen[("2.7",)] == {("six", "<1.10"), old}
    assert chosen["3.11", "3.13"] == {six, old, new}
