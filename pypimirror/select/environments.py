"""The environments of a mirror: which wheels they can install, and which markers they meet.

Only files for declared environments are mirrored. This module knows Pythons, and whether Python,
platform and ABI fit together. `pypimirror.select.platforms` knows platforms.
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

#: Markers are compared with these values if nothing is declared.
_ALL_PYTHONS = tuple(f"3.{minor}" for minor in range(6, 16))


#: A patch, or a release of a system, higher than all real ones.
_LAST = 999
# The patches that a marker names, such as in "3.11.4", and the releases of a system.
_PATCH = re.compile(r"\b[0-9]+\.[0-9]+\.([0-9]{1,3})\b")
_RELEASE = re.compile(
    r'platform_(?:release|version)\b[^"]*"([^"]*)"'
    r'|"([^"]*)" (?:not )?in platform_(?:release|version)'
)

#: The names of Python's implementations in markers: implementation_name, and
#: platform_python_implementation. pip assumes the first one.
_IMPLEMENTATIONS = (("cpython", "CPython"), ("pypy", "PyPy"), ("graalpy", "GraalVM"))


class EnvironmentKeyError(PypimirrorError):
    """A Python version or platform cannot be read; the message says what is valid."""

    def __init__(self, key: str, said: str) -> None:
        super().__init__(f"{key}: {said}")
        self.key = key
        self.said = said


class Environments:
    """The environments of `python`, `platforms` and `abi`; an empty one allows everything."""

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
        """Whether all wheels are included."""
        return not (self.pythons or self.platforms or self._abis)

    def install(self, tag: str) -> bool:
        """Whether one of them can install a wheel with these (compressed) tags.

        No environment can install a wheel whose tags cannot be read.
        """
        return _can_install(self, tag)

    def fits(self, tag: tags.Tag) -> bool:
        """Whether one of them can install a wheel with this tag."""
        return (
            (not self.pythons or (tag.interpreter, tag.abi) in self._pairs)
            and (not self._abis or tag.abi in self._abis)
            and (not self.platforms or tag.platform in self._platform_tags)
        )

    def admit(self, requires_python: str) -> bool:
        """Whether a requires-python allows one of them; one that cannot be read allows all."""
        if not self.pythons:
            return True
        return _admits(requires_python, tuple(self._versions))

    def admitted(self, requires_python: str) -> list[bool]:
        """Return for each environment of `each` whether a requires-python admits it."""
        admits = {python: _admits(requires_python, (_python(python),)) for python, _ in self.each}
        return [admits[python] for python, _ in self.each]

    def meet(self, marker: Marker) -> bool:
        """Whether a marker is true in one of them: the declared ones, or all known ones."""
        return any(marker.evaluate(dict(facts)) for _, facts in self.facts_for(str(marker)))

    def narrowed(
        self, required: Requirement, narrower: Sequence[Requirement]
    ) -> Iterator[SpecifierSet]:
        """Yield the required versions, if constraints apply only in some environments.

        Each is yielded once, for all environments in which the requirement itself applies.
        """
        found: dict[str, SpecifierSet] = {}
        asked = " ".join(str(each.marker) for each in (required, *narrower))
        for _, facts in self.facts_for(asked):
            if required.marker is None or required.marker.evaluate(dict(facts)):
                versions = required.specifier
                for each in narrower:
                    if each.marker is None or each.marker.evaluate(dict(facts)):
                        versions &= each.specifier
                found.setdefault(str(versions), versions)
        yield from found.values()

    @cached_property
    def each(self) -> list[tuple[str, str]]:
        """The Python and the platform of each declared environment, or of all known ones."""
        platforms = [p for p in self.platforms if p != "any"] or ANYWHERE
        return list(product(self.pythons or _ALL_PYTHONS, platforms))

    def facts_for(self, asked: str) -> Iterator[tuple[int, Mapping[str, str]]]:
        """Yield the facts for markers; for undeclared ones, all values that markers distinguish.

        Each comes with the position of its environment in `each`. `asked` is the text of the
        markers. A version of Python means all of its patches, a platform all of its releases. If no
        Python is declared, every implementation is included, like every wheel.
        """
        is_any = not self.pythons and "implementation" in asked
        implementations = _IMPLEMENTATIONS if is_any else _IMPLEMENTATIONS[:1]
        for patch, release, (name, called) in product(
            _patches(asked), _releases(asked), implementations
        ):
            for number, facts in self._marker_facts:
                full = f"{facts['python_version']}.{patch}"
                yield (
                    number,
                    {
                        **facts,
                        "python_full_version": full,
                        "implementation_version": full,
                        "implementation_name": name,
                        "platform_python_implementation": called,
                        "platform_release": release,
                        "platform_version": release,
                    },
                )

    @cached_property
    def _pairs(self) -> frozenset[tuple[str, str]]:
        """Yield interpreter and ABI of all tags that the Pythons install."""
        return frozenset(
            (tag.interpreter, tag.abi)
            for major, minor, threads in self._versions
            for tag in _python_tags(major, minor, threads)
        )

    @cached_property
    def _marker_facts(self) -> list[tuple[int, Mapping[str, str]]]:
        return [
            (number, facts)
            for number, (python, platform) in enumerate(self.each)
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
    # ">=3.11.4" allows 3.11, because everybody with 3.11 can install its last patch.
    return any(
        allowed.contains(f"{major}.{minor}.{patch}", prereleases=True)
        for major, minor, _ in versions
        for patch in (0, _LAST)
    )


def _patches(asked: str) -> list[int]:
    """Return the patches of a Python that markers distinguish."""
    if "_full_version" not in asked and "implementation_version" not in asked:
        return [0]
    named = {int(found) for found in _PATCH.findall(asked)}
    return sorted({0, _LAST, *(n + step for n in named for step in (-1, 0, 1) if n + step > 0)})


def _releases(asked: str) -> list[str]:
    """Return the releases of a system that markers distinguish."""
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
    """Return the flags of a CPython's ABI: before 3.8 "m" (pymalloc), before 3.3 also "u" (UCS-4).

    A version that exists with narrow and with wide characters means both.
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
    """Yield the facts for markers of one Python on one platform."""
    for facts in marker_facts(platform):
        yield {
            **facts,
            "python_version": python,
            "extra": "",
        }
