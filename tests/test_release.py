"""`make release` refuses a tree that is not ready; else it builds, tries and tags it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
TODAY = date(2026, 11, 29)

GOOD = """# Changelog

## [Unreleased]

## [0.2.0] - 2026-11-29

### Added

- More.

## [0.1.0] - 2026-01-01

### Added

- All.
"""


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release", ROOT / ".ci/release.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["release"] = module  # as dataclasses want it
    spec.loader.exec_module(module)
    return module


release = load()


def test_the_section_of_the_version_is_found() -> None:
    found = release.check_changelog(GOOD, "0.2.0", TODAY)
    assert (found.date, found.text) == ("2026-11-29", "### Added\n\n- More.")


@pytest.mark.parametrize(
    ("changelog", "said"),
    [
        (GOOD.replace("[Unreleased]\n", "[Unreleased]\n\n- New.\n"), "is not empty"),
        (GOOD.replace("## [Unreleased]\n", ""), r"begin with \[Unreleased\]"),
        (GOOD.replace("0.2.0", "0.3.0"), r"the newest version is \[0.3.0\]"),
        (GOOD.replace(" - 2026-11-29", ""), "needs a date that has come"),
        (GOOD.replace("2026-11-29", "2026-11-30"), "needs a date that has come"),
        (GOOD.replace("2026-11-29", "29 November"), "needs a date that has come"),
        (GOOD.replace("### Added\n\n- More.\n", ""), "needs a date that has come"),
        ("## [Unreleased]\n", "the newest version is none"),
    ],
)
def test_a_changelog_that_does_not_tell_the_version_is_refused(changelog: str, said: str) -> None:
    with pytest.raises(release.RefusedError, match=said):
        release.check_changelog(changelog, "0.2.0", TODAY)


def test_this_changelog_tells_of_the_version_that_the_program_says_it_is() -> None:
    """Later changes are unreleased, and dates go backwards."""
    from pypimirror import __version__

    unreleased, *released = release.sections((ROOT / "CHANGELOG.md").read_text())
    assert (unreleased.name, unreleased.date) == ("Unreleased", "")
    assert released[0].name == __version__
    dates = [date.fromisoformat(section.date) for section in released]
    assert dates == sorted(dates, reverse=True)


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Clone the commits of this repository, without a remote, ready for make."""
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    place = tmp_path / "clone"
    assert run("git", "clone", "--quiet", "--no-tags", ROOT, place, cwd=tmp_path).returncode == 0
    run("git", "remote", "remove", "origin", cwd=place)
    for key, value in (("user.name", "A"), ("user.email", "a@example.org")):
        run("git", "config", key, value, cwd=place)
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    (place / ".cache").symlink_to(cache)
    (place / ".git/info/exclude").write_text(".cache\n")
    return place


def make_release(clone: Path) -> subprocess.CompletedProcess[str]:
    """Run `make release` with the environment of these tests as make's own."""
    locks = [f"locks/{name}.txt" for name in ("build", "runtime", "development")]
    said = run("sh", "-c", f"cat pyproject.toml {' '.join(locks)} | cksum", cwd=clone).stdout
    venv = clone.parent / "venv"
    venv.mkdir(exist_ok=True)
    for kind in ("runtime", "development"):
        (venv / f".{kind}-yes-{said.strip().replace(' ', '-')}").touch()
    where = (f"VENV={venv}", f"BIN={Path(sys.executable).parent}", "DEPENDENCIES=here")
    return run("make", "release", *where, cwd=clone)


def ready(clone: Path) -> None:
    """Change the changelog so that everything in it is released."""
    changelog = clone / "CHANGELOG.md"
    unreleased, newest, *_ = release.sections(changelog.read_text())
    text = changelog.read_text().replace(unreleased.text, "", 1) if unreleased.text else ""
    if text:
        changelog.write_text(text)
        assert run("git", "commit", "--quiet", "-am", "Ready", cwd=clone).returncode == 0
    assert newest.date


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_release_is_built_tried_and_tagged_once(clone: Path) -> None:
    ready(clone)
    (clone / "left.txt").write_text("over")
    refused = make_release(clone)
    assert refused.returncode and "left.txt" in refused.stderr
    assert not (clone / "dist").exists()
    (clone / "left.txt").unlink()
    done = make_release(clone)
    assert done.returncode == 0, done.stderr
    assert "the wheel is what is imported" in done.stdout
    version = release._VERSION.search((clone / "pypimirror/__init__.py").read_text())[1]
    built = {path.name for path in (clone / "dist").iterdir()}
    assert built == {f"pypimirror-{version}.tar.gz", f"pypimirror-{version}-py3-none-any.whl"}
    (tag,) = run("git", "tag", "--points-at", "HEAD", cwd=clone).stdout.split()
    assert tag == f"v{version}"
    again = make_release(clone)
    assert again.returncode and f"{tag} was released already" in again.stderr
