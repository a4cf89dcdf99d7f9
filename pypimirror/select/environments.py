"""The environments that a mirror is for: which wheels they install, which markers they meet.

By inclusion: what is declared is mirrored. Lives here: Pythons, and whether Python, platform and
ABI fit together. Does not live here: platforms (`pypimirror.select.platforms`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import product
from typing import TYPE_CHECKING

from packaging import tags

from pypimirror.domain import bounded
from pypimirror.domain.model import PypimirrorError
from pypimirror.select.platforms import ANYWHERE, marker_facts, platform_tags

if TYPE_CHECKING:  # slow to import
    from packaging.markers import Marker
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

_PYTHON = re.compile(r"(?P<major>[23])\.(?P<minor>[0-9]{1,3})(?P<threads>t?)")
#: The first Python that comes without the GIL.
_THREADS = (3, 13)

#: What markers are held against where nothing is declared for them.
_ALL_PYTHONS = tuple(f"3.{minor}" for minor in range(6, 16))


#: A patch, or a release of a system, that none comes to.
_LAST = 999
# The patches that a marker names, such as in "3.11.4", and the releases of a system.
_PATCH = re.compile(r"\b[0-9]+\.[0-9]+\.([0-9]{1,3})\b")
_RELEASE = re.compile(
    r'platform_(?:release|version)\b[^"]*"([^"]*)"'
    r'|"([^"]*)" (?:not )?in platform_(?:release|version)'
)

#: How implementations of Python call themselves: implementation_name, and what markers call
#: platform_python_implementation. The first is what pip takes for granted.
_IMPLEMENTATIONS = (("cpython", "CPython"), ("pypy", "PyPy"), ("graalpy", "GraalVM"))


class EnvironmentKeyError(PypimirrorError):
    """A Python version or platform that cannot be read; the message says what is right."""

    def __init__(self, key: str, said: str) -> None:
        super().__init__(f"{key}: {said}")
        self.key = key
        self.said = said


class Environments:
    """The environments of `python`, `platforms` and `abi`; each empty where anything goes."""

    def __init__(
        self, pythons: Iterable[str] = (), platforms: Iterable[str] = (), abis: Iterable[str] = ()
    ) -> None:
        self.pythons = tuple(pythons)
        self.platforms = tuple(platforms)
        self._abis = frozenset(abis)
        self._versions = [_python(text) for text in self.pythons]
        self._platform_tags = frozenset(t for p in self.platforms for t in _platform_tags(p))

    @property
    def is_any(self) -> bool:
        """Whether no wheel is left out."""
        return not (self.pythons or self.platforms or self._abis)

    def install(self, tag: str) -> bool:
        """Whether one of them can install a wheel of these (compressed) tags.

        Tags that cannot be read are installed nowhere.
        """
        return _can_install(self, tag)

    def fits(self, tag: tags.Tag) -> bool:
        """Whether one of them can install a wheel of this very tag."""
        return (
            (not self.pythons or (tag.interpreter, tag.abi) in self._pairs)
            and (not self._abis or tag.abi in self._abis)
            and (not self.platforms or tag.platform in self._platform_tags)
        )

    def admit(self, requires_python: str) -> bool:
        """Whether a requires-python admits one of them; one that cannot be read admits all."""
        if not self.pythons:
            return True
        return _admits(requires_python, tuple(self._versions))

    def meet(self, marker: Marker) -> bool:
        """Whether a marker is true in one of them, declared or, where none is, known."""
        return any(marker.evaluate(dict(facts)) for facts in self.facts_for(str(marker)))

    def narrowed(
        self, required: Requirement, narrower: Sequence[Requirement]
    ) -> Iterator[SpecifierSet]:
        """Yield which versions are required where constraints hold only where markers are met.

        Each once, of all environments in which the requirement itself holds.
        """
        found: dict[str, SpecifierSet] = {}
        asked = " ".join(str(each.marker) for each in (required, *narrower))
        for facts in self.facts_for(asked):
            if required.marker is None or required.marker.evaluate(dict(facts)):
                versions = required.specifier
                for each in narrower:
                    if each.marker is None or each.marker.evaluate(dict(facts)):
                        versions &= each.specifier
                found.setdefault(str(versions), versions)
        yield from found.values()

    def facts_for(self, asked: str) -> Iterator[Mapping[str, str]]:
        """Yield what markers find: of what nobody declares, all that they tell apart.

        `asked` is their text. A version of Python stands for all its patches, a platform for all
        its releases; where no Python is declared, any implementation goes, as any wheel does.
        """
        is_any = not self.pythons and "implementation" in asked
        implementations = _IMPLEMENTATIONS if is_any else _IMPLEMENTATIONS[:1]
        for patch, release, (name, called) in product(
            _patches(asked), _releases(asked), implementations
        ):
            for facts in self._marker_facts:
                full = f"{facts['python_version']}.{patch}"
                yield {
                    **facts,
                    "python_full_version": full,
                    "implementation_version": full,
                    "implementation_name": name,
                    "platform_python_implementation": called,
                    "platform_release": release,
                    "platform_version": release,
                }

    @cached_property
    def _pairs(self) -> frozenset[tuple[str, str]]:
        """Interpreter and ABI of all tags that the Pythons install."""
        return frozenset(
            (tag.interpreter, tag.abi)
            for major, minor, threads in self._versions
            for tag in _python_tags(major, minor, threads)
        )

    @cached_property
    def _marker_facts(self) -> list[Mapping[str, str]]:
        return [
            facts
            for python in self.pythons or _ALL_PYTHONS
            for platform in [p for p in self.platforms if p != "any"] or ANYWHERE
            for facts in _facts(python.rstrip("t"), platform)
        ]


@lru_cache(maxsize=1 << 16)
def _can_install(environments: Environments, tag: str) -> bool:
    try:
        return any(environments.fits(each) for each in tags.parse_tag(tag))
    except ValueError:
        return False


@lru_cache(maxsize=1 << 12)
def _admits(requires_python: str, versions: tuple[tuple[int, int, str], ...]) -> bool:
    allowed = bounded.specifiers(requires_python)
    if allowed is None:
        return True
    # ">=3.11.4" admits 3.11: whoever has it can have its last patch.
    return any(
        allowed.contains(f"{major}.{minor}.{patch}", prereleases=True)
        for major, minor, _ in versions
        for patch in (0, _LAST)
    )


def _patches(asked: str) -> list[int]:
    """Return the patches of a Python that markers tell apart."""
    if "_full_version" not in asked and "implementation_version" not in asked:
        return [0]
    named = {int(found) for found in _PATCH.findall(asked)}
    return sorted({0, _LAST, *(n + step for n in named for step in (-1, 0, 1) if n + step > 0)})


def _releases(asked: str) -> list[str]:
    """Return the releases of a system that markers tell apart."""
    named = ["".join(found) for found in _RELEASE.findall(asked)]
    return list(dict.fromkeys([*named, "0", str(_LAST)])) if named else [""]


def _python(text: str) -> tuple[int, int, str]:
    found = _PYTHON.fullmatch(text)
    if found is None or (found["threads"] and (int(found[1]), int(found[2])) < _THREADS):
        raise EnvironmentKeyError(
            "python", f'{text!r} is no version of CPython such as "3.12" or "3.13t"'
        )
    return int(found["major"]), int(found["minor"]), found["threads"]


def _python_tags(major: int, minor: int, threads: str) -> Iterator[tags.Tag]:
    interpreter = f"cp{major}{minor}"
    abis = [f"{interpreter}{flags}" for flags in _flags(major, minor, threads)]
    yield from tags.cpython_tags((major, minor), abis=abis, platforms=["any"])
    yield from tags.compatible_tags((major, minor), interpreter, platforms=["any"])


def _flags(major: int, minor: int, threads: str) -> tuple[str, ...]:
    """What marks the ABI of a CPython: before 3.8 "m" (pymalloc), before 3.3 also "u" (UCS-4).

    A version that came with narrow and with wide characters stands for both.
    """
    if (major, minor) < (3, 3):
        return ("m", "mu")
    return ("m",) if (major, minor) < (3, 8) else (threads,)


def _platform_tags(platform: str) -> Iterator[str]:
    try:
        return platform_tags(platform)
    except ValueError:
        raise EnvironmentKeyError(
            "platforms",
            f'{platform!r} is no platform tag such as "manylinux_2_28_x86_64", '
            '"macosx_14_0_arm64", "win_amd64" or "any"',
        ) from None


def _facts(python: str, platform: str) -> Iterator[Mapping[str, str]]:
    """Yield the facts that markers ask for, of one Python on one platform."""
    for facts in marker_facts(platform):
        yield {
            **facts,
            "python_version": python,
            "extra": "",
        }
