"""One definition of what a file is: all else that a path can be is none, and is not waited for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pypimirror.system import regular


def in_directory(act: Callable[[str], object], path: Path) -> None:
    """A socket's address is short: it is bound by its name alone."""
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        act(path.name)
    finally:
        os.chdir(before)


def bind(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(name)


#: All that may stand in the place of a file, by name; each is given the path.
THINGS: dict[str, Callable[[Path], object]] = {
    "nothing": lambda path: None,
    "directory": lambda path: path.mkdir(),
    "fifo": os.mkfifo,
    "socket": lambda path: in_directory(bind, path),
    "loop": lambda path: path.symlink_to(path.name),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "link to a file": lambda path: path.symlink_to(__file__),
    "link to nothing": lambda path: path.symlink_to("nowhere"),
}


@pytest.mark.parametrize("thing", THINGS)
def test_all_else_than_a_regular_file_is_no_file(tmp_path: Path, thing: str) -> None:
    path = tmp_path / "packages" / "six" / "file"
    path.parent.mkdir(parents=True)
    THINGS[thing](path)
    root = f"{tmp_path}/"
    assert not regular.is_here(str(path), root)
    for ask in (regular.status, regular.open_file, regular.read):
        with pytest.raises(FileNotFoundError):
            ask(str(path), root)


def test_a_way_over_a_link_leads_to_no_file_but_for_root_and_top(tmp_path: Path) -> None:
    real = tmp_path / "real"
    (real / "disk" / "six" / "a").mkdir(parents=True)
    (real / "disk" / "six" / "a" / "file").write_bytes(b"here")
    (real / "packages").symlink_to("disk")
    root = tmp_path / "root"
    root.symlink_to("real")
    asked = str(root / "packages" / "six" / "a" / "file")
    assert regular.read(asked, f"{root}/") == b"here"
    (real / "disk" / "six" / "b").symlink_to("a")
    (real / "disk" / "idna").symlink_to("six")
    for other in ("six/b/file", "idna/a/file"):
        path = str(root / "packages" / other)
        assert not regular.is_here(path, f"{root}/")
        with pytest.raises(regular.NotAFileError, match="symbolic link"):
            regular.open_file(path, f"{root}/")


def test_what_an_operator_names_may_be_a_link_and_has_a_bound(tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes(b"six\n")
    (tmp_path / "link").symlink_to("names")
    assert regular.read_written(tmp_path / "link") == b"six\n"
    with pytest.raises(OSError, match="has more than 3 bytes"):
        regular.read_written(tmp_path / "link", most=3)
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(regular.NotAFileError):
            regular.read_written(path)


@pytest.mark.parametrize("thing", [thing for thing in THINGS if thing != "directory"])
def test_what_is_made_is_a_new_file_whatever_was_there(tmp_path: Path, thing: str) -> None:
    path = tmp_path / "file"
    THINGS[thing](path)
    before = Path(__file__).read_bytes()
    with open(regular.create(str(path)), "wb") as file:
        file.write(b"new")
    assert regular.read(str(path)) == b"new"
    assert Path(__file__).read_bytes() == before


def test_what_has_another_name_as_well_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "served").write_bytes(b"served")
    (tmp_path / "file").hardlink_to(tmp_path / "served")
    with open(regular.create(str(tmp_path / "file")), "wb") as file:
        file.write(b"new")
    assert (tmp_path / "served").read_bytes() == b"served"


def test_a_directory_is_not_made_way_for(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"directory|permitted"):
        regular.create(str(tmp_path))
