"""The platforms of a mirror: which wheels they accept, and the facts for markers.

A platform is declared by the tag of the newest wheels that it accepts. `packaging.tags`, which pip
uses, says which other tags it accepts. For glibc and musl, packaging knows only the running system,
so this module follows PEP 600 and PEP 656. Tags of Windows have no version, and each tag of
Emscripten (PEP 783) names an ABI of its own: they mean only themselves, like those of the BSDs and
of Cygwin.

Markers get the values that Python has on the platform: PEP 730 for iOS, PEP 738 for Android.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import chain

from packaging import tags

#: All systems, if none is declared: those with wheels, and others that requirements name.
ANYWHERE = (
    *("linux_x86_64", "linux_aarch64", "macosx_14_0_x86_64", "macosx_14_0_arm64"),
    *("win_amd64", "win_arm64", "win32", "ios_13_0_arm64_iphoneos", "android_24_arm64_v8a"),
    *("linux_i686", "linux_armv7l", "linux_ppc64le", "linux_s390x", "linux_riscv64"),
    *("linux_loongarch64", "pyemscripten_2026_0_wasm32", "freebsd_14_0_release_amd64"),
    *("cygwin_3_6_x86_64", "openbsd_7_6_amd64", "netbsd_10_0_amd64"),
)

# Patterns are texts here and compiled at their first use, because most mirrors name no platform.
# Versions have at most three digits, so that all lower versions can be listed.
_VERSION = r"(?P<major>[0-9]{1,3})_(?P<minor>[0-9]{1,3})"
_LINUX = rf"(?P<libc>manylinux|musllinux)_{_VERSION}_(?P<arch>\w+)"
_LEGACY = r"manylinux(?P<year>1|2010|2014)_(?P<arch>\w+)"
_MACOS = rf"macosx_{_VERSION}_(?P<arch>\w+)"
_IOS = rf"ios_{_VERSION}_(?P<arch>\w+_iphone(?:os|simulator))"
_ANDROID = r"android_(?P<level>[0-9]{1,3})_(?P<arch>[a-z]\w*)"
# Each is a release of its own, because Python builds the tag from the system's own name.
_OTHER = (
    r"(?P<system>freebsd|openbsd|netbsd|dragonfly|cygwin)_(?P<major>[0-9]+)_\w*?"
    r"(?P<machine>amd64|arm64|aarch64|i386|i686|riscv64|powerpc64(?:le)?|x86_64)"
)
_ALONE = (
    r"any|linux_\w+|win32|win_\w+|(?:pyodide|pyemscripten)_[0-9]+_[0-9]+_wasm32"
    r"|emscripten_[0-9]+_[0-9]+_[0-9]+_wasm32"
)

#: The minor version of glibc for each of the older names (PEP 513, 571, 599).
_GLIBC = {"1": 5, "2010": 12, "2014": 17}
# A processor with 64 bits that also runs programs with 32 bits.
_ALSO = {"armv8l": ("armv8l", "armv7l")}

#: The kernel's names of processors for which Android has other names.
_ANDROID_MACHINES = {
    "arm64_v8a": ("aarch64",),
    "armeabi_v7a": ("armv7l", "armv8l"),
    "x86": ("i686",),
}
#: platform_system on systems without wheels in public indexes.
_NAMES = {
    "freebsd": "FreeBSD",
    "openbsd": "OpenBSD",
    "netbsd": "NetBSD",
    "dragonfly": "DragonFly",
    "cygwin": "CYGWIN_NT-10.0",
}
_WINDOWS_MACHINES = {"win32": "x86", "win_amd64": "AMD64", "win_arm64": "ARM64"}


def platform_tags(platform: str) -> Iterator[str]:
    """Yield the platforms of all wheels that a platform accepts, its own first.

    Raises `ValueError` if this is no platform.
    """
    return chain([platform], _older(platform))


def _older(platform: str) -> Iterator[str]:
    if legacy := re.fullmatch(_LEGACY, platform):
        return _linux_tags("manylinux", 2, _GLIBC[legacy["year"]], legacy["arch"])
    if linux := re.fullmatch(_LINUX, platform):
        return _linux_tags(linux["libc"], int(linux["major"]), int(linux["minor"]), linux["arch"])
    if mac := re.fullmatch(_MACOS, platform):
        return tags.mac_platforms((int(mac["major"]), int(mac["minor"])), mac["arch"])
    if ios := re.fullmatch(_IOS, platform):
        return tags.ios_platforms((int(ios["major"]), int(ios["minor"])), ios["arch"])
    if android := re.fullmatch(_ANDROID, platform):
        return tags.android_platforms(int(android["level"]), android["arch"])
    if re.fullmatch(_ALONE, platform) or re.fullmatch(_OTHER, platform):
        return iter(())
    raise ValueError(platform)


def _linux_tags(libc: str, major: int, minor: int, arch: str) -> Iterator[str]:
    for each in _ALSO.get(arch, (arch,)):
        yield f"linux_{each}"
        for older in range(_oldest(libc, each), minor + 1):
            yield f"{libc}_{major}_{older}_{each}"
        for year, glibc in _GLIBC.items():
            if libc == "manylinux" and _oldest(libc, each) <= glibc <= minor:
                yield f"manylinux{year}_{each}"


def _oldest(libc: str, arch: str) -> int:
    """Return the first minor version for which wheels were made."""
    if libc == "musllinux":
        return 0
    return _GLIBC["1"] if arch in ("x86_64", "i686") else _GLIBC["2014"]


def marker_facts(platform: str) -> Iterator[Mapping[str, str]]:
    """Yield the facts for markers on a platform: several if its tag leaves them open."""
    sys_platform, names, machines = _system(platform)
    for name in names:
        for machine in machines:
            yield {
                "os_name": "nt" if sys_platform == "win32" else "posix",
                "sys_platform": sys_platform,
                "platform_system": name,
                "platform_machine": machine,
            }


def _system(platform: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return the values of sys_platform, platform_system and platform_machine."""
    if platform.startswith("win"):
        machine = _WINDOWS_MACHINES.get(platform, platform.removeprefix("win_"))
        return "win32", ("Windows",), (machine,)
    if mac := re.fullmatch(_MACOS, platform):
        universal = mac["arch"].startswith("universal")
        return "darwin", ("Darwin",), ("x86_64", "arm64") if universal else (mac["arch"],)
    if ios := re.fullmatch(_IOS, platform):
        return "ios", ("iOS", "iPadOS"), (ios["arch"].rpartition("_")[0],)
    if android := re.fullmatch(_ANDROID, platform):
        machines = _ANDROID_MACHINES.get(android["arch"], (android["arch"],))
        return "android", ("Android",), machines
    if platform.endswith("_wasm32"):
        return "emscripten", ("Emscripten",), ("wasm32",)
    if other := re.fullmatch(_OTHER, platform):
        name = _NAMES[other["system"]]
        is_bare = other["system"] == "cygwin"  # sys.platform of all others ends with the version
        called = other["system"] if is_bare else other["system"] + other["major"]
        return called, (name,), (other["machine"],)
    linux = re.fullmatch(_LINUX, platform) or re.fullmatch(_LEGACY, platform)
    machine = linux["arch"] if linux else platform.removeprefix("linux_")
    return "linux", ("Linux",), (machine,)
