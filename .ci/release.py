"""`make release`: checks the commit, builds and checks sdist and wheel, and sets the tag.

Everything that can refuse comes first, and the tag comes last. Nothing is pushed. A version
is released by naming it in `pypimirror/__init__.py` and in CHANGELOG.md, committing that, and
running this.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from installer.sources import WheelFile
from packaging.metadata import InvalidMetadata, Metadata

CHECKOUT = Path(__file__).resolve().parent.parent

_HEADING = re.compile(r"^## \[([^\]]+)\](?: - (.+))?$", re.MULTILINE)
_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


class RefusedError(Exception):
    """The tree must not be released; the message says why and what to do."""


@dataclass(frozen=True)
class Section:
    """A section of the changelog."""

    name: str  #: a version, or "Unreleased"
    date: str  #: "" if there is none
    text: str


def sections(changelog: str) -> list[Section]:
    """Return the sections of a changelog, in its order."""
    found = list(_HEADING.finditer(changelog))
    ends = [*(each.start() for each in found[1:]), len(changelog)]
    return [
        Section(each[1], each[2] or "", changelog[each.end() : end].strip())
        for each, end in zip(found, ends, strict=True)
    ]


def check_changelog(changelog: str, version: str, today: date) -> Section:
    """Return the section of `version`, which must be the newest. Raises `RefusedError`."""
    unreleased, *released = sections(changelog)
    if unreleased.name != "Unreleased":
        raise RefusedError("CHANGELOG.md: does not begin with [Unreleased]; put it first")
    if unreleased.text:
        raise RefusedError(
            f"CHANGELOG.md: [Unreleased] is not empty; move what it says to [{version}]"
        )
    if not released or released[0].name != version:
        newest = f"[{released[0].name}]" if released else "none"
        raise RefusedError(
            f"CHANGELOG.md: the newest version is {newest}, and pypimirror/__init__.py has "
            f"{version}; let both say the same"
        )
    newest_section = released[0]
    try:
        is_future = date.fromisoformat(newest_section.date) > today
    except ValueError:
        is_future = True
    if is_future or not newest_section.text:
        raise RefusedError(
            f"CHANGELOG.md: [{version}] needs a date that has come, such as '- {today}', and text"
        )
    return newest_section


def git(*arguments: str) -> str:
    """Return what git prints. Raises `RefusedError`."""
    done = subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        raise RefusedError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def check_tree(tag: str) -> None:
    """Refuse uncommitted changes and a tag that exists. Raises `RefusedError`."""
    if changed := git("status", "--porcelain"):
        raise RefusedError(f"this is not committed; commit it or remove it:\n{changed}")
    if git("tag", "--list", tag):
        raise RefusedError(f"{tag} was released already; name the next version")


def build(version: str) -> tuple[Path, Path]:
    """Build sdist and wheel into dist/; return their paths."""
    dist = CHECKOUT / "dist"
    for old in dist.glob(f"pypimirror-{version}[-.]*"):
        old.unlink()
    when = git("log", "-1", "--format=%ct")  # so that anybody can build the same bytes
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(dist)]
    subprocess.run(command, cwd=CHECKOUT, check=True, env=os.environ | {"SOURCE_DATE_EPOCH": when})
    (wheel,) = dist.glob(f"pypimirror-{version}-*.whl")
    return dist / f"pypimirror-{version}.tar.gz", wheel


def check_distributions(sdist: Path, wheel: Path, version: str) -> None:
    """Check what an index checks, and each digest in the wheel. Raises `RefusedError`."""
    with tarfile.open(sdist) as archive:
        member = archive.extractfile(f"pypimirror-{version}/PKG-INFO")
        assert member is not None
        in_sdist = member.read()
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = archive.read(f"pypimirror-{version}.dist-info/METADATA")
    for name, content in ((sdist.name, in_sdist), (wheel.name, in_wheel)):
        try:
            said = Metadata.from_email(content, validate=True)
        except (InvalidMetadata, ExceptionGroup) as error:
            raise RefusedError(f"{name}: its metadata is wrong: {error}") from error
        told = (str(said.version), said.description_content_type, bool(said.description))
        if told != (version, "text/markdown", True):
            raise RefusedError(
                f"{name}: says {told} of version, kind of text, and whether it has any"
            )
    with WheelFile.open(wheel) as source:
        source.validate_record()


def main() -> None:
    """Check, build, check, tag."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dependencies", choices=("index", "here"), default="index")
    dependencies = parser.parse_args().dependencies
    found = _VERSION.search((CHECKOUT / "pypimirror/__init__.py").read_text())
    assert found is not None
    version, tag = found[1], f"v{found[1]}"
    try:
        check_tree(tag)
        section = check_changelog((CHECKOUT / "CHANGELOG.md").read_text(), version, date.today())
        sdist, wheel = build(version)
        check_distributions(sdist, wheel, version)
        checks = [str(CHECKOUT / ".ci/wheel.py"), str(wheel), "--dependencies", dependencies]
        if subprocess.run([sys.executable, *checks]).returncode:
            raise RefusedError(f"{wheel.name}: does not work in an environment of its own")
        check_tree(tag)
        git("tag", "--annotate", tag, "--message", f"pypimirror {version}, {section.date}")
    except RefusedError as error:
        raise SystemExit(f"release: {error}") from error
    print(f"Released {version}: {sdist}, {wheel}, tag {tag}. Nothing was pushed:")
    print(f"  git push origin {tag}")


if __name__ == "__main__":
    main()
