"""The environments that a mirror is for: which wheels they install, which markers they meet.

By inclusion: what is declared is mirrored. Tags come from `packaging.tags`, except for those of
glibc and musl, which packaging only computes for the system that it runs on; the rules for them
are PEP 600's and PEP 656's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache

from packaging import tags
from packaging.markers import Marker

from pypimirror import bounded
from pypimirror.model import PypimirrorError

_PYTHON = re.compile(r"(?P<major>[23])\.(?P<minor>[0-9]+)(?P<threads>t?)")
_LINUX = re.compile(
    r"(?P<libc>manylinux|musllinux)_(?P<major>[0-9]+)_(?P<minor>[0-9]+)_(?P<arch>\w+)"
)
_LEGACY = re.compile(r"manylinux(?P<year>1|2010|2014)_(?P<arch>\w+)")
_MACOS = re.compile(r"macosx_(?P<major>[0-9]+)_(?P<minor>[0-9]+)_(?P<arch>\w+)")
_SYSTEM = re.compile(r"(?:(?:many|musl)linux|macosx|ios|android)[0-9_]*_|(?:linux|win)_")
_OTHERS = re.compile(r"any|linux_\w+|win32|win_\w+|ios_\w+|android_\w+|(?:pyodide|emscripten)_\w+")

#: The glibc that each of the older names stands for (PEP 513, 571, 599).
_GLIBC = {"1": 5, "2010": 12, "2014": 17}

#: What markers are held against where nothing is declared for them.
_ALL_PYTHONS = tuple(f"3.{minor}" for minor in range(6, 16))
_ALL_PLATFORMS = (
    *("linux_x86_64", "linux_aarch64", "macosx_14_0_x86_64", "macosx_14_0_arm64"),
    *("win_amd64", "win_arm64", "win32"),
)


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
            for platform in [p for p in self.platforms if p != "any"] or _ALL_PLATFORMS
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
    if found is None:
        raise EnvironmentKeyError(f'{text!r} is no version of CPython such as "3.12" or "3.13t"')
    return int(found["major"]), int(found["minor"]), found["threads"]


def _python_tags(major: int, minor: int, threads: str) -> Iterator[tags.Tag]:
    interpreter = f"cp{major}{minor}"
    # Before 3.8, ABIs of CPython were marked with "m" (pymalloc); so were wheels.
    abi = interpreter + ("m" if (major, minor) < (3, 8) else threads)
    yield from tags.cpython_tags((major, minor), abis=[abi], platforms=["any"])
    yield from tags.compatible_tags((major, minor), interpreter, platforms=["any"])


def _platform_tags(platform: str) -> Iterator[str]:
    """Yield the tags of all wheels that a platform takes, its own included."""
    yield platform
    if legacy := _LEGACY.fullmatch(platform):
        yield from _linux_tags("manylinux", 2, _GLIBC[legacy["year"]], legacy["arch"])
    elif linux := _LINUX.fullmatch(platform):
        yield from _linux_tags(
            linux["libc"], int(linux["major"]), int(linux["minor"]), linux["arch"]
        )
    elif mac := _MACOS.fullmatch(platform):
        yield from tags.mac_platforms((int(mac["major"]), int(mac["minor"])), mac["arch"])
    elif not _OTHERS.fullmatch(platform):
        raise EnvironmentKeyError(
            f'{platform!r} is no platform tag such as "manylinux_2_28_x86_64", '
            '"macosx_14_0_arm64", "win_amd64" or "any"'
        )


def _linux_tags(libc: str, major: int, minor: int, arch: str) -> Iterator[str]:
    yield f"linux_{arch}"
    for older in range(minor + 1):
        yield f"{libc}_{major}_{older}_{arch}"
    if libc == "manylinux":
        for year, glibc in _GLIBC.items():
            if glibc <= minor:
                yield f"manylinux{year}_{arch}"


def _facts(python: str, platform: str) -> Iterator[Mapping[str, str]]:
    """Yield the facts that markers ask for, of one Python on one platform."""
    machine = re.sub(
        r"^(?:manylinux|musllinux|macosx|ios|android)[0-9_]*_|^(?:linux|win)_", "", platform
    )
    if platform.startswith("win"):
        machine = {"win32": "x86", "amd64": "AMD64", "arm64": "ARM64"}.get(machine, machine)
        system = {"os_name": "nt", "sys_platform": "win32", "platform_system": "Windows"}
    elif platform.startswith("macosx"):
        system = {"os_name": "posix", "sys_platform": "darwin", "platform_system": "Darwin"}
    else:
        system = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"}
    machines = ("x86_64", "arm64") if machine.startswith("universal") else (machine,)
    for each in machines:
        yield system | {
            "platform_machine": each,
            "python_version": python,
            "python_full_version": f"{python}.0",
            "implementation_name": "cpython",
            "implementation_version": f"{python}.0",
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_version": "",
            "extra": "",
        }
