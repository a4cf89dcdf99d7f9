"""The mirror root: what is served changes in whole steps, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypimirror.domain.model import Problem
from pypimirror.storage.posix import PosixStorage
from pypimirror.storage.workspace import Workspace
from pypimirror.system.disk_errors import StorageError


@pytest.fixture
def steps() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path / "mirror")
    made.create()
    return made


@pytest.fixture
def storage(workspace: Workspace, steps: list[tuple[str, str]]) -> PosixStorage:
    made = PosixStorage(workspace, lambda what, where: steps.append((what, where)))
    made.create()
    return made


def write(storage: PosixStorage, **pages: bytes) -> int:
    return storage.write(
        (f"simple/{name}/index.html", [content]) for name, content in pages.items()
    )


def test_create_makes_the_directories_and_may_be_repeated(
    storage: PosixStorage, workspace: Workspace
) -> None:
    storage.create()
    assert {path.name for path in workspace.directory.iterdir()} == {
        ".pypimirror",
        "packages",
        "simple",
    }


def test_create_names_what_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "mirror").write_text("a file")
    with pytest.raises(StorageError, match=str(tmp_path / "mirror")) as caught:
        Workspace(tmp_path / "mirror").create()
    assert caught.value.problem.reason == "disk"


def test_pages_are_made_durable_before_they_are_shown(
    storage: PosixStorage, workspace: Workspace, steps: list[tuple[str, str]]
) -> None:
    assert write(storage, a=b"1", b=b"2") == 2
    assert steps == [
        ("flush", ""),
        ("place", "simple/a/index.html"),
        ("place", "simple/b/index.html"),
    ]


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1])
def test_a_page_that_differs_in_its_last_byte_is_rewritten(
    storage: PosixStorage, workspace: Workspace, size: int
) -> None:
    write(storage, a=b"x" * size)
    assert write(storage, a=b"x" * (size - 1) + b"y") == 1


def test_a_page_is_replaced_and_never_written_in_place(
    storage: PosixStorage, workspace: Workspace
) -> None:
    """A reader that has the old page open goes on reading the old page."""
    write(storage, a=b"old")
    with workspace.directory.joinpath("simple/a/index.html").open("rb") as reader:
        write(storage, a=b"new and longer")
        assert reader.read() == b"old"


def test_pages_that_fail_half_way_show_nothing(storage: PosixStorage, workspace: Workspace) -> None:
    write(storage, a=b"old")

    def chunks() -> object:
        yield b"half"
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left"):
        storage.write([("simple/a/index.html", chunks())])  # type: ignore[list-item]
    assert workspace.directory.joinpath("simple/a/index.html").read_bytes() == b"old"


def test_removing_a_file_removes_the_directory_it_empties_and_no_more(
    storage: PosixStorage, workspace: Workspace
) -> None:
    write(storage, a=b"1", b=b"2")
    storage.remove("simple/a/index.html")
    storage.remove("simple/b/index.html")
    storage.remove("simple/none/index.html")
    storage.remove("simple/index.html")
    assert (workspace.directory / "simple").is_dir()
    assert list((workspace.directory / "simple").iterdir()) == []
    assert write(storage, a=b"again") == 1, "a directory that was removed can be made again"


def test_hashed_directories_are_removed_up_to_packages(
    storage: PosixStorage, workspace: Workspace
) -> None:
    source = workspace.staging / "1.part"
    source.write_bytes(b"x")
    relative = f"packages/ab/cd/{'e' * 60}/six-1.0.tar.gz"
    storage.place([(source, relative)])
    storage.remove(relative)
    assert list((workspace.directory / "packages").iterdir()) == []


def test_a_directory_with_something_else_in_it_stays(
    storage: PosixStorage, workspace: Workspace
) -> None:
    write(storage, a=b"1")
    other = workspace.directory.joinpath("simple/a/index.v1_json")
    other.write_bytes(b"{}")
    storage.remove("simple/a/index.html")
    assert other.exists()


def test_an_error_of_the_disk_names_the_path(storage: PosixStorage, workspace: Workspace) -> None:
    with pytest.raises(StorageError, match=r"packages/six/six-1\.0\.zip"):
        storage.place([(workspace.staging / "absent", "packages/six/six-1.0.zip")])
    with pytest.raises(StorageError, match="simple/aaa"):
        storage.remove(f"simple/{'a' * 300}/index.html")


@pytest.mark.parametrize("in_the_way", ["simple/a/index.html/x", "simple/a"])
def test_what_is_in_the_way_stops_no_other_page_and_stays(
    storage: PosixStorage, workspace: Workspace, in_the_way: str
) -> None:
    stranger = workspace.directory / in_the_way
    stranger.parent.mkdir(parents=True, exist_ok=True)
    stranger.write_bytes(b"precious")
    blocked: dict[str, Problem] = {}
    pages = [(f"simple/{name}/index.html", [b"page"]) for name in "abc"]
    assert storage.write(pages, blocked) == 2
    assert storage.write(pages, blocked) == 0
    assert list(blocked) == ["simple/a/index.html"]
    assert str(workspace.directory / "simple/a") in blocked["simple/a/index.html"].message
    assert (workspace.directory / "simple/c/index.html").read_bytes() == b"page"
    assert not list(workspace.staging.iterdir())
    with pytest.raises(StorageError, match="simple/a"):
        storage.write(pages)
    storage.remove("simple/a/index.html")
    assert not storage.says("simple/a/index.html", [b"page"])
    assert storage.read("simple/a/index.html") is None
    assert stranger.read_bytes() == b"precious"


def test_the_directories_that_it_remembers_do_not_grow_with_the_mirror(
    storage: PosixStorage, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pypimirror.storage.posix._REMEMBERED", 3)
    storage.create()
    for number in range(10):
        storage.write([(f"simple/p{number}/index.html", [b"x"])])
        assert len(storage._made) <= 3
