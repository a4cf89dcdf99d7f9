"""The mirror root: what is served changes in whole steps, and nothing else is touched."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.domain.model import Problem
from pypimirror.storage.tree import Tree, TreeError, file_path, hashed_location, page_paths
from tests.mirror import listing


@pytest.fixture
def steps() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def tree(tmp_path: Path, steps: list[tuple[str, str]]) -> Tree:
    made = Tree(tmp_path / "mirror", lambda what, where: steps.append((what, where)))
    made.create()
    return made


def write(tree: Tree, **pages: bytes) -> int:
    return tree.write((f"simple/{name}/index.html", [content]) for name, content in pages.items())


def test_create_makes_the_directories_and_may_be_repeated(tree: Tree) -> None:
    tree.create()
    assert {path.name for path in tree.directory.iterdir()} == {".pypimirror", "packages", "simple"}


def test_create_names_what_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "mirror").write_text("a file")
    with pytest.raises(TreeError, match=str(tmp_path / "mirror")) as caught:
        Tree(tmp_path / "mirror").create()
    assert caught.value.problem.reason == "disk"


def test_pages_are_made_durable_before_they_are_shown(
    tree: Tree, steps: list[tuple[str, str]]
) -> None:
    assert write(tree, a=b"1", b=b"2") == 2
    assert steps == [
        ("flush", ""),
        ("place", "simple/a/index.html"),
        ("place", "simple/b/index.html"),
    ]


def test_unchanged_pages_are_not_rewritten(tree: Tree) -> None:
    write(tree, a=b"same", b=b"old")
    before = listing(tree.directory)
    assert write(tree, a=b"same", b=b"new") == 1
    after = listing(tree.directory)
    assert after["simple/a/index.html"] == before["simple/a/index.html"]
    assert after["simple/b/index.html"] != before["simple/b/index.html"]


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1])
def test_a_page_that_differs_in_its_last_byte_is_rewritten(tree: Tree, size: int) -> None:
    write(tree, a=b"x" * size)
    assert write(tree, a=b"x" * (size - 1) + b"y") == 1


def test_a_page_is_replaced_and_never_written_in_place(tree: Tree) -> None:
    """A reader that has the old page open goes on reading the old page."""
    write(tree, a=b"old")
    with tree.path("simple/a/index.html").open("rb") as reader:
        write(tree, a=b"new and longer")
        assert reader.read() == b"old"


def test_a_reader_sees_an_old_page_or_a_new_page_and_never_part_of_one(tree: Tree) -> None:
    old, new = b"o" * 300_000, b"n" * 200_000
    write(tree, a=old)
    path, seen, done = tree.path("simple/a/index.html"), set[bytes](), threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(30):
        write(tree, a=new)
        write(tree, a=old)
    done.set()
    reader.join()
    assert seen <= {old, new}


def test_pages_that_fail_half_way_show_nothing(tree: Tree) -> None:
    write(tree, a=b"old")

    def chunks() -> object:
        yield b"half"
        raise OSError(28, "No space left on device")

    with pytest.raises(TreeError, match="No space left"):
        tree.write([("simple/a/index.html", chunks())])  # type: ignore[list-item]
    assert tree.path("simple/a/index.html").read_bytes() == b"old"
    tree.clear_private()
    assert list(tree.private.glob("page.*")) == []


def test_removing_a_file_removes_the_directory_it_empties_and_no_more(tree: Tree) -> None:
    write(tree, a=b"1", b=b"2")
    tree.remove("simple/a/index.html")
    tree.remove("simple/b/index.html")
    tree.remove("simple/none/index.html")
    tree.remove("simple/index.html")
    assert (tree.directory / "simple").is_dir()
    assert list((tree.directory / "simple").iterdir()) == []
    assert write(tree, a=b"again") == 1, "a directory that was removed can be made again"


def test_hashed_directories_are_removed_up_to_packages(tree: Tree) -> None:
    source = tree.staging / "1.part"
    source.write_bytes(b"x")
    relative = f"packages/ab/cd/{'e' * 60}/six-1.0.tar.gz"
    tree.place([(source, relative)])
    tree.remove(relative)
    assert list((tree.directory / "packages").iterdir()) == []


def test_a_directory_with_something_else_in_it_stays(tree: Tree) -> None:
    write(tree, a=b"1")
    other = tree.path("simple/a/index.v1_json")
    other.write_bytes(b"{}")
    tree.remove("simple/a/index.html")
    assert other.exists()


def test_what_failed_verification_leaves_with_its_report(tree: Tree) -> None:
    tree.staged(7).write_bytes(b"bad")
    tree.set_aside(tree.staged(7), "7", b"{}")
    assert (tree.quarantine / "7").read_bytes() == b"bad"
    assert (tree.quarantine / "7.json").read_bytes() == b"{}"
    assert not tree.staged(7).exists()
    tree.set_aside(tree.staged(8), "8", b"{}")  # the answer's headers told: no bytes came
    assert not (tree.quarantine / "8").exists()


def test_discard_leaves_nothing_of_a_file_in_staging_and_all_of_others(tree: Tree) -> None:
    for name in ("1.part", "1.part.json", "1.metadata", "11.part", "11.metadata"):
        (tree.staging / name).write_bytes(b"")
    tree.discard(1)
    tree.discard(2)
    assert sorted(path.name for path in tree.staging.iterdir()) == ["11.metadata", "11.part"]


def test_an_error_of_the_disk_names_the_path(tree: Tree) -> None:
    with pytest.raises(TreeError, match=r"packages/six/six-1\.0\.zip"):
        tree.place([(tree.staging / "absent", "packages/six/six-1.0.zip")])
    with pytest.raises(TreeError, match="simple/aaa"):
        tree.remove(f"simple/{'a' * 300}/index.html")


@pytest.mark.parametrize("in_the_way", ["simple/a/index.html/x", "simple/a"])
def test_what_is_in_the_way_stops_no_other_page_and_stays(tree: Tree, in_the_way: str) -> None:
    stranger = tree.directory / in_the_way
    stranger.parent.mkdir(parents=True, exist_ok=True)
    stranger.write_bytes(b"precious")
    blocked: dict[str, Problem] = {}
    pages = [(f"simple/{name}/index.html", [b"page"]) for name in "abc"]
    assert tree.write(pages, blocked) == 2
    assert tree.write(pages, blocked) == 0
    assert list(blocked) == ["simple/a/index.html"]
    assert str(tree.directory / "simple/a") in blocked["simple/a/index.html"].message
    assert (tree.directory / "simple/c/index.html").read_bytes() == b"page"
    assert not list(tree.private.glob("page.*"))
    with pytest.raises(TreeError, match="simple/a"):
        tree.write(pages)
    tree.remove("simple/a/index.html")
    assert not tree.says("simple/a/index.html", [b"page"])
    assert tree.read("simple/a/index.html") is None
    assert stranger.read_bytes() == b"precious"


def test_paths() -> None:
    assert page_paths(None, ["html", "json"]) == {
        "html": "simple/index.html",
        "json": "simple/index.v1_json",
    }
    assert page_paths("six", ["json"]) == {"json": "simple/six/index.v1_json"}
    assert file_path("six", "six-1.zip", None) == "packages/six/six-1.zip"
    assert file_path("six", "six-1.zip", "packages/a/b/c") == "packages/a/b/c/six-1.zip"


HASHED = f"ab/cd/{'0' * 60}"


@pytest.mark.parametrize(
    ("path", "location"),
    [
        (f"/packages/{HASHED}/six-1.0.zip", f"packages/{HASHED}"),
        (f"/mirror/packages/{HASHED}/six-1.0.zip", f"packages/{HASHED}"),
        ("/packages/six/six-1.0.zip", None),
        (f"/packages/{HASHED.upper()}/six-1.0.zip", None),
        (f"/packages/../{HASHED}/six-1.0.zip", None),
        (f"/packages/ab/cd/{'0' * 59}/six-1.0.zip", None),
    ],
)
def test_only_a_hashed_path_is_taken_over(path: str, location: str | None) -> None:
    assert hashed_location(path) == location


@given(st.text(alphabet="/.%abcdef0129packges\\\x00", max_size=120))
def test_no_address_leads_out_of_packages(path: str) -> None:
    location = hashed_location(path)
    assert location is None or (location.startswith("packages/") and ".." not in location)


def test_the_directories_that_it_remembers_do_not_grow_with_the_mirror(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pypimirror.storage.tree._REMEMBERED", 3)
    tree.create()
    for number in range(10):
        tree.write([(f"simple/p{number}/index.html", [b"x"])])
        assert len(tree._made) <= 3
