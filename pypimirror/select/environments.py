"""The environments that a mirror is for: which wheels they install, which markers they meet.

By inclusion: what is declared is mirrored. Lives here: Pythons, and whether Python, platform and
ABI fit together. Does not live here: platforms (`pypimirror.select.platforms`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache

from packaging import tags
from packaging.markers import Marker

from pypimirror import bounded
from pypimirror.model import PypimirrorError
from pypimirror.select.platforms import KNOWN, marker_facts, platform_tags

_PYTHON = re.compile(r"(?P<major>[23])\.(?P<minor>[0-9]{1,3})(?P<threads>t?)")
#: The first Python that comes without the GIL.
_THREADS = (3, 13)

#: What markers are held against where nothing is declared for them.
_ALL_PYTHONS = tuple(f"3.{minor}" for minor in range(6, 16))


class EnvironmentKeyError(PypimirrorError):
    """A Python version or platform that cannot be read; the message says what is right."""


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
        return any(marker.evaluate(dict(facts)) for facts in self._marker_facts)

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
            for platform in [p for p in self.platforms if p != "any"] or KNOWN
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
        for patch in (0, 999)
    )


def _python(text: str) -> tuple[int, int, str]:
    found = _PYTHON.fullmatch(text)
    if found is None or (found["threads"] and (int(found[1]), int(found[2])) < _THREADS):
        raise EnvironmentKeyError(
            f'python: {text!r} is no version of CPython such as "3.12" or "3.13t"'
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
            f'platforms: {platform!r} is no platform tag such as "manylinux_2_28_x86_64", '
            '"macosx_14_0_arm64", "win_amd64" or "any"'
        ) from None


def _facts(python: str, platform: str) -> Iterator[Mapping[str, str]]:
    """Yield the facts that markers ask for, of one Python on one platform."""
    for facts in marker_facts(platform):
        yield {
            **facts,
            "python_version": python,
            "python_full_version": f"{python}.0",
            "implementation_name": "cpython",
            "implementation_version": f"{python}.0",
            "platform_python_implementation": "CPython",
            "extra": "",
        }
