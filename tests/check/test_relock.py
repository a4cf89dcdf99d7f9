"""A lock with this mirror's addresses: where installers ask, and not one byte of anything else."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypimirror.check.outcome import GapKind
from pypimirror.check.relock import Relocked, relock
from pypimirror.check.targets import Target
from pypimirror.select.locks import registry
from tests.check.conftest import LINUX, Tree

INDEX, FILES = "http://mirror.example.org/simple/", "http://cdn.example.org/"
THERE = "https://files.example.org/packages/ab/cd/base-1.0-py3-none-any.whl"
OURS = "http://cdn.example.org/packages/base/base-1.0-py3-none-any.whl"

UV = """\
version = 1
requires-python = ">=3.9"  # a comment, and  spaces

[[package]]
name = "app"
version = "1"
source = {{ virtual = "." }}
dependencies = [
    {{ name = "base" }},
]

[[package]]
name = "base"
version = "1.0"
source = {{ registry = "https://index.example.org/simple" }}
wheels = [
    {{ url = "{url}", hash = "sha256:{digest}", size = 17 }},
]
"""


def done(tree: Tree, name: str, text: str, *targets: Target) -> Relocked:
    """What becomes of a lock."""
    path = tree.root.parent / name
    path.write_text(text)
    lock = registry.read(path)
    return relock(tree.shelf(), lock, text, targets, INDEX, FILES)


def test_addresses_are_replaced_and_every_other_byte_stays(tree: Tree) -> None:
    text = UV.format(url=THERE, digest=tree.wheel("base", "1.0"))
    found = done(tree, "uv.lock", text)
    assert (found.files, found.indexes, found.kept, found.gaps) == (1, 1, 0, ())
    # uv takes an index with a slash at its end for another one than the same without it.
    theirs = text.replace(THERE, OURS)
    assert found.text == theirs.replace(
        "https://index.example.org/simple", "http://mirror.example.org/simple"
    )


def test_other_bytes_under_the_same_name_get_no_address(tree: Tree) -> None:
    tree.wheel("base", "1.0")
    found = done(tree, "uv.lock", UV.format(url=THERE, digest="f" * 64))
    assert [gap.kind for gap in found.gaps] == [GapKind.DIGEST]
    assert (found.files, found.kept) == (0, 1)


def test_what_no_declared_environment_takes_keeps_its_address(tree: Tree) -> None:
    text = UV.format(url=THERE, digest=tree.wheel("base", "1.0"))
    windows = THERE.replace("py3-none-any", "cp312-cp312-win_amd64")
    more = f'    {{ url = "{windows}", hash = "sha256:{"a" * 64}" }},\n]\n'
    text = text.removesuffix("]\n") + more
    found = done(tree, "uv.lock", text, LINUX)
    assert (found.gaps, found.files, found.kept) == ((), 1, 1)
    assert windows in found.text and THERE not in found.text
    # Without declared environments, every file of the lock has to be here.
    assert [gap.file for gap in done(tree, "uv.lock", text).gaps] == [windows.rpartition("/")[2]]


def test_a_pylock_has_an_index_and_addresses(tree: Tree) -> None:
    digest = tree.wheel("base", "1.0")
    text = (
        'lock-version = "1.0"\ncreated-by = "tests"\n[[packages]]\nname = "base"\n'
        'version = "1.0"\nindex = "https://index.example.org/simple/"\n'
        f'wheels = [{{ url = "{THERE}", hashes = {{ sha256 = "{digest}" }} }}]\n'
    )
    found = done(tree, "pylock.toml", text)
    assert found.gaps == ()
    assert found.text == text.replace(THERE, OURS).replace(
        "https://index.example.org/simple/", INDEX
    )


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("poetry-2.5.1.poetry.lock", 9),
        ("pipenv-2026.10.3.Pipfile.lock", 1),
        ("pip-compile-7.6.2.txt", 1),
        ("pdm-2.29.4.pdm.lock", 0),
        ("uv-0.13.9.uv.lock", None),
        ("pylock.uv-0-13-9.toml", None),
    ],
)
def test_no_address_of_the_old_index_is_left_in_locks_of_real_tools(
    tree: Tree, name: str, count: int | None
) -> None:
    """The comment of pip-compile says how it was called, and stays."""
    text = (Path(__file__).parents[1] / "select/locks/data" / name).read_text()
    found = done(tree, name, text)
    assert count in (found.indexes, None)
    lines = [line for line in found.text.splitlines() if not line.startswith("#")]
    assert "index.example.org/simple" not in "\n".join(lines)
    assert found.indexes or count == 0
    assert len(found.text.splitlines()) == len(text.splitlines())
