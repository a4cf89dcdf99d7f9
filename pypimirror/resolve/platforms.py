"""uv's names of the platforms that `[select] platforms` declares by tags.

uv has its own names for some platforms, with fixed tags. A platform without a name is resolved as
the nearest lower one with a name. The real platform accepts all wheels of the lower one, so a
solution also installs there. If no lower platform has a name, uv does not resolve for the platform.
"""

from __future__ import annotations

import re

from pypimirror.resolve.uv import Environment

_LINUX = re.compile(r"manylinux_2_(?P<minor>[0-9]{1,3})_(?P<machine>x86_64|aarch64)")
_LEGACY = re.compile(r"manylinux2014_(?P<machine>x86_64|aarch64)")
_MUSL = re.compile(r"musllinux_1_(?P<minor>[0-9]{1,3})_(?P<machine>x86_64|aarch64)")
_MACOS = re.compile(r"macosx_(?P<major>[0-9]{1,3})_(?P<minor>[0-9]{1,3})_(?P<machine>x86_64|arm64)")

#: The minor versions of glibc for which uv has names, the newest first.
_GLIBC = (40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 28, 17)
#: The minor version of musl in uv's names.
_MUSL_MINOR = 2

#: A patch of Python higher than all real ones.
LAST_PATCH = 99

_NAMED = {
    "win_amd64": "x86_64-pc-windows-msvc",
    "win_arm64": "aarch64-pc-windows-msvc",
    "win32": "i686-pc-windows-msvc",
}


def named(python: str | None, platform: str | None) -> Environment | None:
    """Return the environment in uv's names; None if uv has no name for the platform.

    A version of Python without a patch means its last patch, as in `[select] python`.
    """
    version = None if python is None else _last_patch(python.rstrip("t"))
    if platform is None:
        return Environment(version)
    if mac := _MACOS.fullmatch(platform):
        machine = "aarch64" if mac["machine"] == "arm64" else "x86_64"
        target = {"MACOSX_DEPLOYMENT_TARGET": f"{mac['major']}.{mac['minor']}"}
        return Environment(version, f"{machine}-apple-darwin", target)
    name = _NAMED.get(platform) or _linux(platform)
    return Environment(version, name) if name else None


def _linux(platform: str) -> str | None:
    if legacy := _LEGACY.fullmatch(platform):
        return f"{legacy['machine']}-manylinux2014"
    if musl := _MUSL.fullmatch(platform):
        is_known = int(musl["minor"]) >= _MUSL_MINOR
        return f"{musl['machine']}-unknown-linux-musl" if is_known else None
    linux = _LINUX.fullmatch(platform)
    if linux is None:
        return None
    below = next((minor for minor in _GLIBC if minor <= int(linux["minor"])), None)
    return None if below is None else f"{linux['machine']}-manylinux_2_{below}"


def _last_patch(python: str) -> str:
    return f"{python}.{LAST_PATCH}" if python.count(".") == 1 else python
