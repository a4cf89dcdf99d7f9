"""`pypimirror relock`: the lock goes to standard output, and all that is said to standard error."""

from __future__ import annotations

import pytest

from tests.check.test_relock import UV
from tests.cli.conftest import Command
from tests.mirror import Mirror, offer
from tests.simulator import Simulator

THERE = "https://files.example.org/base-1.0-py3-none-any.whl"


@pytest.fixture
def held(mirror: Mirror, simulator: Simulator) -> Mirror:
    """A mirror that has `base`, and a lock of it."""
    (file,) = offer(simulator, "base", "1.0")
    mirror.sync()
    (mirror.base / "uv.lock").write_text(UV.format(url=THERE, digest=file.sha256))
    return mirror


def test_the_lock_is_printed_with_the_address_that_is_given(run: Command, held: Mirror) -> None:
    text = (held.base / "uv.lock").read_text()
    for base in ("http://mirror.example.org/pypi", "http://mirror.example.org/pypi/simple/"):
        found = run("relock", "uv.lock", "--base-url", base)
        assert found.code == 0
        path = "packages/base/base-1.0-py3-none-any.whl"
        assert found.out == text.replace(THERE, f"http://mirror.example.org/pypi/{path}").replace(
            "https://index.example.org/simple", "http://mirror.example.org/pypi/simple"
        )
        assert "files: 1, indexes: 1" in found.err
    # Without one, it is that of [up].
    assert "http://127.0.0.1:8080/packages/base/" in run("relock", "uv.lock").out
    held.configure(up={"host": "0.0.0.0"})
    found = run("relock", "uv.lock")
    assert found.code == 2 and "--base-url" in found.err


def test_files_have_the_address_that_pages_give_them(run: Command, held: Mirror) -> None:
    held.configure(publish={"base_url": "http://cdn.example.org/x/"})
    assert held.sync(sound=False).failures == []
    found = run("relock", "uv.lock", "--base-url", "http://mirror.example.org/")
    assert "http://cdn.example.org/x/packages/base/base-1.0" in found.out
    assert 'registry = "http://mirror.example.org/simple"' in found.out


def test_what_the_mirror_does_not_hold_is_told_and_nothing_printed(
    run: Command, held: Mirror
) -> None:
    lock = held.base / "uv.lock"
    lock.write_text(lock.read_text().replace("1.0", "7.0"))
    found = run("relock", "uv.lock")
    assert (found.code, found.out) == (1, "")
    assert "base-7.0-py3-none-any.whl" in found.err and "uv.lock" in found.err
    document = run("relock", "uv.lock", "--json").json
    assert (document["complete"], document["text"]) == (False, None)


def test_wrong_use_is_told(run: Command, held: Mirror) -> None:
    assert run("relock", "nowhere.lock").code == 2
    for base in ("mirror", "http://[::1", "http://mirror.example.org:x/", "http://m/?q=1"):
        found = run("relock", "uv.lock", "--base-url", base)
        assert found.code == 2 and "--base-url" in found.err


def test_files_of_the_layout_of_pypi_have_their_own_addresses(
    run: Command, mirror: Mirror, simulator: Simulator
) -> None:
    simulator.index.layout = "pypi"
    (file,) = offer(simulator, "base", "1.0")
    mirror.configure(mirror={"layout": "pypi"})
    mirror.sync()
    (path,) = mirror.root.glob("packages/**/base-1.0-py3-none-any.whl")
    (mirror.base / "uv.lock").write_text(UV.format(url=THERE, digest=file.sha256))
    found = run("relock", "uv.lock", "--base-url", "http://mirror.example.org/")
    assert path.parent.name != "base"
    assert f"http://mirror.example.org/{path.relative_to(mirror.root)}" in found.out
