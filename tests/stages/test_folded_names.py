"""Names that are one on some file systems: a fake of one that ignores case.

Promises 1, 2 and 9: whatever the upstream renames, a page names bytes with the digest that it says,
and nothing of what is live is removed with what is not.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from pypimirror.model import Reason
from tests.corpus.build import make_sdist
from tests.mirror import Mirror, reasons
from tests.simulator import Simulator


@pytest.fixture
def folding(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the system keep one file for all spellings of a name below `packages/`."""
    packages = f"{mirror.root}/packages/"

    def folded(path: Any) -> Any:
        text = os.fspath(path) if isinstance(path, str | Path) else path
        if isinstance(text, str) and text.startswith(packages):
            return packages + text.removeprefix(packages).lower()
        return path

    for name in ("replace", "lstat", "stat", "open", "unlink", "scandir"):
        real = getattr(os, name)

        def call(*arguments: Any, _real: Any = real, **more: Any) -> Any:
            return _real(*(folded(each) for each in arguments), **more)

        monkeypatch.setattr(os, name, call)


def dead_or_wrong(mirror: Mirror) -> list[str]:
    """What the page names and is not there with that digest, on such a file system."""
    found = []
    for file in mirror.page("foo")["files"]:
        path = mirror.root / "packages" / "foo" / file["filename"].lower()
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "nothing"
        if sha256 != file["hashes"]["sha256"]:
            found.append(file["filename"])
    return found


def rename(simulator: Simulator, old: str, new: str, content: bytes) -> None:
    """Offer a file under another spelling, with other bytes."""
    simulator.file(old).remove()
    simulator.add_file("foo", new, content)


@pytest.mark.usefixtures("folding")
def test_a_renamed_file_waits_until_the_bytes_of_the_old_name_are_gone(
    mirror: Mirror, simulator: Simulator
) -> None:
    old, new = "Foo-1.0.tar.gz", "foo-1.0.tar.gz"
    mirror.configure(delete={"grace": "0s", "max_share": 1.0})
    simulator.add_file("foo", old, make_sdist("foo", "1.0")[1])
    simulator.add_file("foo", *make_sdist("foo", "2.0"))
    mirror.sync(sound=False)
    rename(simulator, old, new, make_sdist("foo", "3.0")[1])
    mirror.configure(delete={"grace": "1h"})
    result = mirror.sync(sound=False)
    assert reasons(result.failures) == {new: Reason.DUPLICATE_NAME}
    assert "only by case" in result.failures[0].message
    assert mirror.files("foo") == ["foo-2.0.tar.gz"]
    assert dead_or_wrong(mirror) == []
    mirror.configure(delete={"grace": "0s"})
    mirror.sync(sound=False)  # removes the old bytes
    assert mirror.sync(sound=False).state == "completed"
    assert mirror.files("foo") == [new, "foo-2.0.tar.gz"]
    assert dead_or_wrong(mirror) == []
    mirror.sync(sound=False)
    assert dead_or_wrong(mirror) == []


@pytest.mark.usefixtures("folding")
@pytest.mark.parametrize("grace", ["0s", "1h"])
def test_a_name_that_goes_back_and_forth_never_leads_to_other_bytes(
    mirror: Mirror, simulator: Simulator, grace: str
) -> None:
    spellings = ("Foo-1.0.tar.gz", "foo-1.0.tar.gz", "FOO-1.0.tar.gz")
    mirror.configure(delete={"grace": grace, "max_share": 1.0})
    simulator.add_file("foo", *make_sdist("foo", "9.0"))
    simulator.add_file("foo", spellings[0], make_sdist("foo", "1.0")[1])
    mirror.sync(sound=False)
    for turn in range(1, 7):
        before, after = spellings[(turn - 1) % 3], spellings[turn % 3]
        rename(simulator, before, after, make_sdist("foo", f"1.{turn}")[1])
        for _ in range(2):
            mirror.sync(sound=False)
            assert dead_or_wrong(mirror) == []
            assert "foo-9.0.tar.gz" in mirror.files("foo")


def test_on_every_file_system_one_spelling_is_held_at_a_time(
    mirror: Mirror, simulator: Simulator
) -> None:
    """A mirror root may move to one that folds names."""
    simulator.add_file("foo", "Foo-1.0.tar.gz", make_sdist("foo", "1.0")[1])
    simulator.add_file("foo", *make_sdist("foo", "2.0"))
    mirror.configure(delete={"max_share": 1.0})
    mirror.sync()
    rename(simulator, "Foo-1.0.tar.gz", "foo-1.0.tar.gz", make_sdist("foo", "3.0")[1])
    assert reasons(mirror.sync().failures) == {"foo-1.0.tar.gz": Reason.DUPLICATE_NAME}
    rename(simulator, "foo-1.0.tar.gz", "Foo-1.0.tar.gz", make_sdist("foo", "1.0")[1])
    assert mirror.sync().failures == []
    assert mirror.files("foo") == ["Foo-1.0.tar.gz", "foo-2.0.tar.gz"]
