"""Names of entries: they must not lead out of the directory where an archive is unpacked.

These are pure rules on names and links, the same for every archive format.

A name is judged as every system may read it: on Windows, a backslash separates and a drive makes a
path absolute. A link is judged by its own target. Several links that lead out only together are
left to the tools that unpack, because these look at the real directories.
"""

from __future__ import annotations

import re

#: Bytes. No system has longer paths, so an entry with a longer name cannot be unpacked.
MAX_NAME = 4096

_SEPARATORS = re.compile(r"[\\/]")
_DRIVE = re.compile(r"[A-Za-z]:")
_UNUSUAL = re.compile(r"[\\\0:]|\.\.|\A/|\A\Z")


def name_fault(name: str) -> str | None:
    """Return why an entry must not have this name, as the end of a sentence; None if it may."""
    if len(name) <= MAX_NAME // 4 and not _UNUSUAL.search(name):
        return None  # nearly all
    if not name:
        return "has no name"
    if len(name) > MAX_NAME:
        return f"has a name of more than {MAX_NAME} characters"
    if "\0" in name:
        return "has a NUL in its name"
    if name[0] in "/\\" or _DRIVE.match(name):
        return "has an absolute path"
    if ".." in _SEPARATORS.split(name):
        return "climbs out of the archive"
    return None


def link_fault(name: str, target: str) -> str | None:
    """Return why the symbolic link `name` must not point to `target`; None if it may."""
    if not target:
        return "is a link to nothing"
    if "\0" in target:
        return "is a link with a NUL in its target"
    if target[0] in "/\\" or _DRIVE.match(target):
        return "is a link to an absolute path"
    depth = sum(part not in ("", ".") for part in name.split("/")) - 1
    for part in _SEPARATORS.split(target):
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            depth += 1
        if depth < 0:
            return "is a link that climbs out of the archive"
    return None


def unpacked_path(name: str) -> str:
    """Return the path of an entry after unpacking: no "." and no empty parts; "." for the top."""
    if name[-1:] == "/":
        name = name[:-1]
    if name[:1] not in ("", ".", "/") and "//" not in name and "/." not in name:
        return name  # nearly all
    return "/".join(part for part in name.split("/") if part not in ("", ".")) or "."
