"""Every file that an installer may take of a lock is here, with the digest that the lock names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pypimirror.check import locked
from pypimirror.check.outcome import Gap, GapKind
from pypimirror.check.targets import Target
from pypimirror.domain.model import ProjectName
from pypimirror.select.locks.lock import Lock, LockedFile, LockedRelease
from tests.check.conftest import LINUX, WINDOWS, Tree

BAD = "f" * 64


def release(project: str, version: str, *files: LockedFile) -> LockedRelease:
    return LockedRelease(ProjectName(project), version, files, "uv.lock:3")


def file(name: str | None, *digests: str) -> LockedFile:
    return LockedFile(name, frozenset(("sha256", each) for each in digests))


def gaps(tree: Tree, *releases: LockedRelease, target: Target | None = None) -> list[Gap]:
    lock = Lock(Path("uv.lock"), "uv.lock", releases)
    (found,) = locked.check(tree.shelf(), lock, "uv.lock", [target] if target else [])
    return list(found.gaps)


def test_a_file_with_its_digest_is_here(tree: Tree) -> None:
    digest = tree.wheel("base", "1.0")
    assert gaps(tree, release("base", "1.0", file("base-1.0-py3-none-any.whl", digest))) == []


def test_what_is_damaged_here_is_not_said_to_be_elsewhere(tree: Tree) -> None:
    wanted = release("base", "1.0", file("base-1.0-py3-none-any.whl", tree.wheel("base", "1.0")))
    (tree.root / "packages/base/base-1.0-py3-none-any.whl").unlink()
    assert [gap.kind for gap in gaps(tree, wanted)] == [GapKind.LOST]
    (tree.root / "simple/base/index.v1_json").write_text("{")
    assert [gap.kind for gap in gaps(tree, wanted)] == [GapKind.LOST]


def test_other_bytes_under_the_name_are_told(tree: Tree) -> None:
    tree.wheel("base", "1.0")
    (gap,) = gaps(tree, release("base", "1.0", file("base-1.0-py3-none-any.whl", BAD)))
    assert gap.kind is GapKind.DIGEST and gap.chain == ("uv.lock:3",) and BAD[:12] in gap.message


def test_a_digest_that_the_page_does_not_tell_is_computed(tree: Tree) -> None:
    tree.wheel("base", "1.0")
    path = tree.root / "packages/base/base-1.0-py3-none-any.whl"
    right = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    for digest, fine in ((right, True), ("0" * 32, False)):
        named = LockedFile(path.name, frozenset({("md5", digest)}))
        assert (gaps(tree, release("base", "1.0", named)) == []) is fine


def test_without_an_environment_every_file_has_to_be_here(tree: Tree) -> None:
    digest = tree.wheel("base", "1.0")
    files = file("base-1.0-py3-none-any.whl", digest), file("base-1.0.tar.gz", BAD)
    (gap,) = gaps(tree, release("base", "1.0", *files))
    assert (gap.kind, gap.file) == (GapKind.FILE, "base-1.0.tar.gz")
    assert gaps(tree, release("base", "1.0", *files), target=LINUX) == []


def test_an_environment_needs_all_wheels_that_it_may_take(tree: Tree) -> None:
    """Which of several wheels is taken depends on the machine."""
    digest = tree.wheel("base", "1.0", tag="cp312-cp312-manylinux2014_x86_64")
    names = [
        "base-1.0-cp312-cp312-manylinux2014_x86_64.whl",
        "base-1.0-cp312-cp312-manylinux_2_28_x86_64.whl",
        "base-1.0-cp312-cp312-win_amd64.whl",
    ]
    found = release("base", "1.0", *(file(name, digest) for name in names))
    assert [gap.file for gap in gaps(tree, found, target=LINUX)] == [names[1]]
    assert [gap.file for gap in gaps(tree, found, target=WINDOWS)] == [names[2]]


def test_a_lock_without_a_file_for_an_environment_is_told(tree: Tree) -> None:
    digest = tree.wheel("base", "1.0", tag="cp312-cp312-win_amd64")
    found = release("base", "1.0", file("base-1.0-cp312-cp312-win_amd64.whl", digest))
    assert gaps(tree, found, target=WINDOWS) == []
    (gap,) = gaps(tree, found, target=LINUX)
    assert gap.kind is GapKind.PLATFORM


@pytest.mark.parametrize("target", [None, LINUX])
def test_digests_without_names_are_looked_for_in_the_version(
    tree: Tree, target: Target | None
) -> None:
    digest = tree.wheel("base", "1.0")
    tree.wheel("base", "2.0")
    assert gaps(tree, release("base", "1.0", file(None, digest)), target=target) == []
    (gap,) = gaps(tree, release("base", "2.0", file(None, digest)), target=target)
    assert gap.kind in (GapKind.DIGEST, GapKind.FILE)
    (gap,) = gaps(tree, release("base", "3.0", file(None, digest)), target=target)
    assert gap.kind is GapKind.VERSION


def test_digests_of_files_for_others_do_not_count_in_an_environment(tree: Tree) -> None:
    digest = tree.wheel("base", "1.0")
    found = release("base", "1.0", file(None, digest), file(None, BAD))
    assert gaps(tree, found, target=LINUX) == []
    assert [gap.kind for gap in gaps(tree, found)] == [GapKind.FILE]


def test_a_digest_of_another_version_lacks_nothing(tree: Tree) -> None:
    """pipenv locks digests of 1.0.1 with 1.0, because the one text is in the other."""
    files = [file(None, tree.wheel("base", version)) for version in ("1.0", "1.0.1")]
    assert gaps(tree, release("base", "1.0", *files)) == []
    (gap,) = gaps(tree, release("base", "1.0", files[1]))
    assert gap.kind is GapKind.DIGEST


def test_a_project_that_is_not_here_is_one_thing_missing(tree: Tree) -> None:
    files = file("base-1.0-py3-none-any.whl", BAD), file("base-1.0.tar.gz", BAD)
    (gap,) = gaps(tree, release("base", "1.0", *files))
    assert (gap.kind, gap.requirement) == (GapKind.PROJECT, "base==1.0")
