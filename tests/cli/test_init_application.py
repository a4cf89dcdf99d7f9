"""`pypimirror init` for an application: a configuration that a sync works with, and checks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pypimirror.check.targets import running_target
from pypimirror.config.settings import Config, load
from pypimirror.resolve import uv
from pypimirror.resolve.child import ResolveError
from tests.check.test_relock import UV
from tests.cli.conftest import Command
from tests.corpus.build import make_wheel
from tests.mirror import offer
from tests.simulator import Simulator


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)


def written(base: Path, name: str = "pypimirror.toml") -> Config:
    return load(base / name)


def test_a_lock_is_mirrored_for_this_machine_and_checked(
    run: Command, tmp_path: Path, simulator: Simulator
) -> None:
    (file, _) = offer(simulator, "base", "1.0", "2.0")
    (tmp_path / "app").mkdir()
    (tmp_path / "app/uv.lock").write_text(
        UV.format(url=f"https://example.org/{file.filename}", digest=file.sha256)
    )
    found = run("init", "--lock", "app/uv.lock", "--upstream", simulator.url)
    assert found.code == 0, found.err
    select = written(tmp_path).select
    target = running_target()
    assert (select.python, select.platforms) == ((target.python,), (target.platform, "any"))
    assert select.check and select.projects == ()
    assert "empty mirrors everything" not in (tmp_path / "pypimirror.toml").read_text()
    assert run("sync", "--inline", "--quiet").code == 0
    wheels = [path.name for path in (tmp_path / "mirror/packages").rglob("*.whl")]
    assert wheels == [file.filename]
    assert run("check").code == 0


def test_a_requirements_file_is_named_relative_to_the_configuration(
    run: Command, tmp_path: Path, simulator: Simulator
) -> None:
    offer(simulator, "base", "1.0")
    name, content = make_wheel("app", "1.0", requires=["base"])
    simulator.add_file("app", name, content, core_metadata=True)
    (tmp_path / "wanted.txt").write_text("app\n")
    config = ("--config", "etc/mirror.toml")
    found = run("init", "-r", "wanted.txt", "six", "--upstream", simulator.url, *config)
    assert found.code == 0, found.err
    assert '"-r ../wanted.txt"' in (tmp_path / "etc/mirror.toml").read_text()
    offer(simulator, "six", "1.0")
    # With what that needs; else the check at the end would fail.
    assert run("sync", "--inline", "--quiet", *config).code == 0
    assert (tmp_path / "etc/mirror/packages/base").is_dir()


def test_an_environment_is_mirrored_as_it_is(
    run: Command, tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "venv/lib/python3.12/site-packages"
    for name, version, foreign in (("Base.Thing", "1.0", False), ("local", "2", True)):
        information = place / f"{name}-{version}.dist-info"
        information.mkdir(parents=True)
        (information / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        if foreign:
            (information / "direct_url.json").write_text('{"url": "file:///x", "dir_info": {}}')
    found = run("init", "--from-environment", "--upstream", simulator.url)
    assert found.code == 2 and "activate" in found.err
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "venv"))
    found = run("init", "--from-environment", "--upstream", simulator.url)
    assert found.code == 0, found.err
    assert "local is from elsewhere" in found.out
    select = written(tmp_path).select
    assert (select.projects, select.python) == (("base-thing==1.0",), ("3.12",))


def test_without_uv_no_check_is_asked_for(
    run: Command, tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent() -> uv.Uv:
        raise ResolveError("none")

    monkeypatch.setattr(uv, "find", absent)
    (tmp_path / "uv.lock").write_text(
        UV.format(url="https://example.org/base-1.0-py3-none-any.whl", digest="0" * 64)
    )
    assert run("init", "--lock", "uv.lock", "--upstream", simulator.url).code == 0
    assert not written(tmp_path).select.check


@pytest.mark.parametrize(
    "arguments",
    [("-r", "nowhere.txt"), ("--lock", "nowhere.lock"), ("--lock", "uv.lock", "--all")],
)
def test_what_cannot_be_read_or_is_no_use_is_told(
    run: Command, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "uv.lock").write_text(
        UV.format(url="https://example.org/base-1.0-py3-none-any.whl", digest="0" * 64)
    )
    found = run("init", *arguments, "--upstream", "https://example.org/simple/")
    assert found.code == 2 and not (tmp_path / "pypimirror.toml").exists()


def test_the_platform_is_one_that_wheels_are_tagged_with() -> None:
    target = running_target()
    assert not target.platform.startswith("linux_") or sys.platform != "linux"
    assert target.environments.install("py3-none-any")
