"""What uv hears is the question alone, and what it answers is a lock or a reason."""

from __future__ import annotations

import os
import stat
import threading
import tomllib
from pathlib import Path

import pytest
from packaging.pylock import Pylock

from pypimirror.resolve import platforms, uv
from pypimirror.resolve.child import NoSolutionError, ResolveError, told
from pypimirror.resolve.uv import Environment, Indexes, ResolveRequest, Uv
from pypimirror.system.workers import Cancelled
from tests.corpus.build import make_sdist
from tests.environment import NOWHERE
from tests.resolve.conftest import Shelf


def chosen(answer: str) -> dict[str, str]:
    """Name and version of what an answer has."""
    lock = Pylock.from_dict(tomllib.loads(answer))
    return {str(package.name): str(package.version) for package in lock.packages}


def fake(directory: Path, script: str) -> Uv:
    """A program in the place of uv."""
    file = directory / "uv"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return Uv(str(file), uv.FLOOR)


def test_an_answer_is_a_lock_with_what_is_required(shelf: Shelf, resolver: Uv) -> None:
    shelf.wheel("app", "1.0", requires=["base>1", "extra; sys_platform == 'win32'"])
    shelf.wheel("base", "1.0")
    shelf.wheel("base", "2.0")
    question = ResolveRequest(("app",), environment=Environment("3.12", "x86_64-manylinux_2_28"))
    assert chosen(resolver.resolve(question, shelf.index)) == {"app": "1.0", "base": "2.0"}


def test_constraints_narrow(shelf: Shelf, resolver: Uv) -> None:
    shelf.wheel("base", "1.0")
    shelf.wheel("base", "2.0")
    question = ResolveRequest(("base",), constraints=("base<2",))
    assert chosen(resolver.resolve(question, shelf.index)) == {"base": "1.0"}


def test_what_does_not_fit_is_told_in_one_line(shelf: Shelf, resolver: Uv) -> None:
    shelf.wheel("app", "1.0", requires=["base>3"])
    shelf.wheel("base", "2.0")
    with pytest.raises(NoSolutionError) as raised:
        resolver.resolve(ResolveRequest(("app",)), shelf.index)
    assert "base" in str(raised.value) and "app" in str(raised.value)
    assert "\n" not in str(raised.value) and "\u00d7" not in str(raised.value)


def test_a_run_that_another_thread_cancels_does_not_wait_for_an_answer(tmp_path: Path) -> None:
    """Fault: uv had its 600 seconds, although the run had lost its lease."""
    silent = fake(tmp_path, "exec sleep 600")
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        silent.resolve(
            ResolveRequest(("app",)), Indexes("http://127.0.0.1:9/"), cancelled=cancelled
        )


def test_no_code_of_a_package_runs(shelf: Shelf, resolver: Uv) -> None:
    shelf.put("app", *make_sdist("app", "1.0"))
    with pytest.raises(NoSolutionError):
        resolver.resolve(ResolveRequest(("app",)), shelf.index)


def test_settings_of_the_person_and_the_machine_are_not_heard(
    shelf: Shelf, resolver: Uv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: the answer tells of the index that was asked, and of no other."""
    shelf.wheel("base", "1.0")
    other = Shelf(tmp_path / "other")
    other.wheel("base", "9.0")
    for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.setenv(name, other.index.url)
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "other/packages"))
    monkeypatch.setenv("ALL_PROXY", NOWHERE)
    (tmp_path / "uv.toml").write_text(f'[[index]]\nurl = "{other.index.url}"\ndefault = true\n')
    monkeypatch.chdir(tmp_path)
    assert chosen(resolver.resolve(ResolveRequest(("base",)), shelf.index)) == {"base": "1.0"}


def test_the_first_index_that_has_a_project_owns_it(
    shelf: Shelf, resolver: Uv, tmp_path: Path
) -> None:
    shelf.wheel("base", "9.0")
    shelf.wheel("app", "1.0", requires=["base"])
    first = Shelf(tmp_path / "first")
    first.wheel("base", "1.0")
    index = Indexes(shelf.index.url, others=(first.index.url,))
    assert chosen(resolver.resolve(ResolveRequest(("app",)), index)) == {
        "app": "1.0",
        "base": "1.0",
    }


def test_it_ends_when_its_time_is_over_with_what_it_started(shelf: Shelf, tmp_path: Path) -> None:
    pipe = tmp_path / "alive"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    # The child of the child holds the pipe open: its end is the end of both.
    slow = fake(tmp_path, f"(exec 9>{pipe}; sleep 300) & wait")
    with pytest.raises(ResolveError, match="has not answered within 1 s"):
        slow.resolve(ResolveRequest(("app",)), shelf.index, patience=1)
    os.set_blocking(reader, True)
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_logins_are_neither_on_the_command_line_nor_told(tmp_path: Path) -> None:
    failing = fake(tmp_path, 'echo "error: $* at $UV_DEFAULT_INDEX" >&2; exit 2')
    with pytest.raises(ResolveError) as raised:
        failing.resolve(ResolveRequest(("app",)), Indexes("http://me:secret@127.0.0.1:9/simple/"))
    assert "http://127.0.0.1:9/simple/" in str(raised.value) and "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "echo uv 0.6.17",
            r"is uv 0\.6\.17, and 0\.7\.0 or later is needed.*pypimirror\[resolve\]",
        ),
        ("echo something else", r"does not say that it is uv.*pypimirror\[resolve\]"),
    ],
)
def test_a_uv_that_cannot_be_used_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    found = fake(tmp_path, script)
    monkeypatch.setattr(uv, "_beside", lambda: found.path)
    with pytest.raises(ResolveError, match=said):
        uv.find.__wrapped__()


def test_where_there_is_no_uv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uv, "_beside", lambda: None)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ResolveError, match=r"pip install 'pypimirror\[resolve\]'"):
        uv.find.__wrapped__()


def test_what_it_says_loses_its_marks() -> None:
    said = (
        "warning: old\n  \u00d7 No solution found when resolving dependencies:\n"
        "  \u2570\u2500\u25b6 Because a\n      b."
    )
    assert told(said) == "No solution found when resolving dependencies: Because a b."
    assert told("") == "it did not say why"


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("manylinux_2_28_x86_64", "x86_64-manylinux_2_28"),
        ("manylinux_2_30_aarch64", "aarch64-manylinux_2_28"),
        ("manylinux2014_x86_64", "x86_64-manylinux2014"),
        ("musllinux_1_2_aarch64", "aarch64-unknown-linux-musl"),
        ("macosx_14_0_arm64", "aarch64-apple-darwin"),
        ("win_amd64", "x86_64-pc-windows-msvc"),
    ],
)
def test_platforms_have_names_that_uv_knows(
    shelf: Shelf, resolver: Uv, tag: str, name: str
) -> None:
    """Its wheels are chosen there, so the name means no newer platform than the tag."""
    environment = platforms.named("3.12", tag)
    assert environment is not None and environment.platform == name
    shelf.wheel("base", "1.0")
    question = ResolveRequest(("base",), environment=environment)
    assert chosen(resolver.resolve(question, shelf.index)) == {"base": "1.0"}


@pytest.mark.parametrize(
    "tag", ["manylinux_2_5_x86_64", "musllinux_1_1_x86_64", "any", "linux_s390x"]
)
def test_platforms_without_a_name_are_not_guessed(tag: str) -> None:
    assert platforms.named("3.12", tag) is None


def test_a_python_without_a_patch_stands_for_its_last_one() -> None:
    for given, asked in (("3.12", "3.12.99"), ("3.13t", "3.13.99"), ("3.12.4", "3.12.4")):
        environment = platforms.named(given, None)
        assert environment is not None and environment.python == asked
