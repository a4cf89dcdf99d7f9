"""A child knows exactly what the process knows that leads the run."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pypimirror.domain.model import File, Problem, ProjectName, Reason, Stage
from pypimirror.pipeline.context.retry_plan import Retry
from pypimirror.pipeline.context.upstream_cache import UpstreamCache
from pypimirror.pipeline.executors import handover
from pypimirror.pipeline.executors.handover import Handover, HandoverError
from pypimirror.select.selection import Selection
from tests.config.complete import complete

SIX = ProjectName("six")


def made(base: Path, **other: Any) -> Handover:
    config = complete(base)
    cache = UpstreamCache()
    cache.places["one"]["six"] = "http://127.0.0.1/elsewhere/"
    values: dict[str, Any] = {
        "config": config,
        "selection": Selection(config).needing({"attrs": [">=1"]}),
        "run_id": 3,
        "name": "calm-otter",
        "command": "sync",
        "names": (SIX,),
        "retry": Retry("old", "all", names=(SIX,), only={"six": frozenset({"six-1.0.zip"})}),
        "fetches": False,
        "now": 1234.5,
        "cache": cache,
        "answered": True,
        "unreachable": Problem(Reason.CONNECTION, "nobody answers"),
        "no_room": None,
        "stages": (Stage.DOWNLOAD, Stage.PUBLISH),
        "number": 7,
        "small_ends": True,
        "worker": "2",
        "slot": 1,
        "workers": 2,
        "log_level": 30,
    }
    return Handover(**values | other)


def sent(orders: Handover) -> Handover:
    found = handover.read(io.BytesIO(handover.encode(orders)))
    assert found is not None
    return found


def test_a_child_has_every_value_of_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logins, which are never shown, and paths, which no longer depend on a file, included."""
    monkeypatch.setenv("PIP_KEYRING_PROVIDER", "import")
    mine = made(tmp_path)
    got = sent(mine)
    assert got.config == mine.config
    assert got.config.digest() == mine.config.digest()
    one, two, three = got.config.upstream
    assert one.password.get_secret_value() == "secret-of-one"
    assert two.token.get_secret_value() == "secret-of-two"
    assert three.keyring == mine.config.upstream[2].keyring is not None
    assert got.config.blame("mirror.layout: x") == mine.config.blame("mirror.layout: x")


def test_a_child_knows_all_else_too(tmp_path: Path) -> None:
    mine = made(tmp_path)
    got = sent(mine)
    for name in set(mine.__struct_fields__) - {"config", "selection"}:
        assert getattr(got, name) == getattr(mine, name), name


def test_a_child_selects_the_same_though_the_files_have_changed(tmp_path: Path) -> None:
    mine = made(tmp_path)
    data = handover.encode(mine)
    for name in ("names.txt", "pylock.toml"):
        (tmp_path / name).write_text("changed")
    got = handover.read(io.BytesIO(data))
    assert got is not None
    assert got.selection.digest == mine.selection.digest
    assert got.selection.named == mine.selection.named
    assert got.selection.besides == mine.selection.besides
    files = [
        File(f"{name}-py3-none-any.whl", f"http://127.0.0.1/{name}.whl")
        for name in ("six-1.0", "six-2.0", "zope.x-1.0")
    ]
    for project in map(ProjectName, ("six", "zope-x", "acme-1", "attrs", "flask")):
        assert got.selection.project(project) == mine.selection.project(project)
        before = mine.selection.explain(project, files, mine.now)
        assert got.selection.explain(project, files, mine.now) == before


def test_no_secret_is_among_the_arguments_or_in_the_environment_of_a_child(tmp_path: Path) -> None:
    """The child waits for the end of its input, which never comes here."""
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "pypimirror.pipeline.executors.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        seen = [Path(f"/proc/{child.pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    finally:
        child.kill()
        child.communicate()
    assert b"secret-of" in handover.encode(made(tmp_path))
    assert not any(b"secret-of" in each for each in seen)
    assert not any("secret-of" in value for value in os.environ.values())


@pytest.mark.parametrize("length", [0, 3, 100])
def test_a_process_that_died_while_it_wrote_hands_nothing_over(tmp_path: Path, length: int) -> None:
    data = handover.encode(made(tmp_path))
    assert handover.read(io.BytesIO(data[:length])) is None


def test_a_program_that_was_replaced_meanwhile_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = handover.encode(made(tmp_path))
    monkeypatch.setattr(handover, "__version__", "99.0")
    with pytest.raises(HandoverError, match=r"to 99\.0 while it worked"):
        handover.read(io.BytesIO(data))
