"""The installed versions are the tested ones: pyproject.toml, the locks, and their installers.

Bounds in pyproject.toml stay open for those who install pypimirror beside other software. make and
the image install from the locks. These have versions and digests for all platforms, and no address,
so any index with the same bytes can be used.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from locks.install import OPTIONS, shares

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
GROUPS = PROJECT["dependency-groups"]

ENVIRONMENTS = [
    {"python_version": version, "python_full_version": f"{version}.4", "sys_platform": system}
    for version in ("3.11", "3.12", "3.13", "3.14")
    for system in ("linux", "darwin")
]


@dataclass(frozen=True)
class Pin:
    """One version of a project, with its marker and the digests of its files."""

    name: str
    version: str
    marker: Marker | None
    digests: frozenset[str]

    def holds(self, environment: dict[str, str]) -> bool:
        return self.marker is None or self.marker.evaluate(environment)


def pins(lock: str) -> Iterator[Pin]:
    """Return the pins of a lock; fail if it has anything but pins and digests."""
    text = (ROOT / "locks" / lock).read_text().replace("\\\n", "")
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        said, *digests = re.split(r"\s+--hash=", line)
        pin = re.fullmatch(r"([a-z0-9-]+)==([\w.+!]+)(?: ; (.+))?", said)
        assert pin, line
        name, version, marker = pin.groups()
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in digests), line
        yield Pin(name, version, Marker(marker) if marker else None, frozenset(digests))


def listed(group: str) -> Iterator[Requirement]:
    """The requirements of a group, and of the groups that it includes."""
    for entry in GROUPS[group]:
        if isinstance(entry, str):
            yield Requirement(entry)
        else:
            yield from listed(entry["include-group"])


def asked_for(lock: str) -> Iterator[Requirement]:
    """The requirements of pyproject.toml that a lock must contain."""
    if lock == "build.txt":
        yield from map(Requirement, PROJECT["build-system"]["requires"])
        yield from listed("build")
        return
    yield from map(Requirement, PROJECT["project"]["dependencies"])
    for extra in PROJECT["project"]["optional-dependencies"].values():
        yield from map(Requirement, extra)
    if lock == "development.txt":
        for group in GROUPS:
            yield from listed(group)


def holds(need: Requirement, *extras: str) -> bool:
    """Whether a requirement applies here, with these extras."""
    marker = need.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


def needed_by(need: Requirement) -> list[Requirement]:
    """Return the requirements here of an installed project with these extras."""
    found = map(Requirement, requires(need.name) or ())
    return [more for more in found if holds(more, *need.extras)]


LOCKS = ("build.txt", "runtime.txt", "development.txt")


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda e: "-".join(e.values()))
@pytest.mark.parametrize("lock", LOCKS)
def test_everything_that_is_asked_for_is_locked_within_its_bounds(
    lock: str, environment: dict[str, str]
) -> None:
    """On each Python and system: one version, never two, of each direct dependency."""
    found = [pin for pin in pins(lock) if pin.holds(environment)]
    versions = {pin.name: pin.version for pin in found}
    assert len(versions) == len(found)
    for wanted in asked_for(lock):
        if wanted.marker is not None and not wanted.marker.evaluate(environment):
            continue
        version = versions.get(canonicalize_name(wanted.name))
        assert version is not None, f"{wanted} is not in locks/{lock}: make lock"
        assert wanted.specifier.contains(version, prereleases=True), f"{wanted}: make lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_each_pin_has_digests_and_nothing_has_an_address(lock: str) -> None:
    """`pins` refuses options and addresses; this test covers comments as well."""
    found = list(pins(lock))
    assert len(found) >= 5
    assert [pin.name for pin in found if not pin.digests] == []
    text = (ROOT / "locks" / lock).read_text()
    assert not re.search(r"://|--(?!hash=)[a-z]|@|/", text), "no address and no option"


@pytest.mark.parametrize("part", ["build.txt", "runtime.txt"])
def test_the_locks_are_parts_of_one_resolution(part: str) -> None:
    """In any order of installation, no package is installed again in another version."""
    whole = {(pin.name, pin.version): pin.digests for pin in pins("development.txt")}
    for pin in pins(part):
        assert whole.get((pin.name, pin.version)) == pin.digests, pin.name


def test_nothing_that_is_installed_lacks_what_it_needs() -> None:
    """make installs the locks without resolving, so they must be complete."""
    seen: set[tuple[str, frozenset[str]]] = set()
    left = [(need, lock) for lock in LOCKS for need in asked_for(lock) if holds(need)]
    while left:
        need, by = left.pop()
        assert need.specifier.contains(version(need.name), prereleases=True), f"{by}: {need}"
        key = (canonicalize_name(need.name), frozenset(need.extras))
        if key not in seen:
            seen.add(key)
            left += [(more, need.name) for more in needed_by(need)]
    assert len(seen) > 100


def test_the_bounds_stay_open() -> None:
    """There is no pin, and the only upper bound is Prefect's next major version."""
    upper = {
        f"{requirement.name}{specifier}"
        for requirement in map(Requirement, PROJECT["project"]["dependencies"])
        for specifier in requirement.specifier
        if specifier.operator != ">="
    }
    assert upper == {"prefect<4"}
    assert SpecifierSet(PROJECT["project"]["requires-python"]) == SpecifierSet(">=3.11")


def installs(file: str) -> list[str]:
    """The commands of a file that install something, each on one line."""
    text = (ROOT / file).read_text().replace("\\\n", " ")
    text = re.sub(r"\$\(NEWEST\).*", "", text).replace("$(PIP) install", "pip install")
    text = text.replace("$(BIN)/python locks/install.py", f"pip install {' '.join(OPTIONS)}")
    return re.findall(r"pip (?:install|wheel) [^\n;]*?(?=&& |\n|;)", text)


@pytest.mark.parametrize("file", ["Makefile", "deploy/Dockerfile"])
def test_what_make_and_the_image_install_is_locked(file: str) -> None:
    """Each package has a digest; pypimirror itself is installed without dependencies."""
    found = [command for command in installs(file) if "--upgrade" not in command]
    assert len(found) >= 2
    for command in found:
        is_locked = "--require-hashes" in command and "locks/" in command
        assert is_locked or "--no-deps" in command, command
        if re.search(r"--editable|pip wheel", command):
            assert "--no-build-isolation" in command, f"fetches a build backend: {command}"


def test_several_pips_install_each_pin_of_the_locks_once() -> None:
    texts = [(ROOT / "locks" / lock).read_text() for lock in ("build.txt", "runtime.txt")]
    dealt = shares(texts, 4)
    said = [line for share in dealt for line in share.splitlines() if "==" in line]
    assert sorted(said) == sorted({line for t in texts for line in t.splitlines() if "==" in line})
    assert all(share.count("==") >= len(said) // 4 for share in dealt)
    hashes = set(re.findall(r"--hash=\S+", "".join(texts)))
    assert set(re.findall(r"--hash=\S+", "".join(dealt))) == hashes
    assert shares(["one==1 \\\n    --hash=sha256:0\n"], 4) == ["one==1 \\\n    --hash=sha256:0\n"]
