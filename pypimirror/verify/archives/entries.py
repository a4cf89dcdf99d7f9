"""Names of entries: would unpacking them write outside the directory that they are unpacked in.

Lives here: pure rules on names and links, the same for every kind of archive.

Names are judged as any system would read them: a backslash separates and a drive is absolute, on
Windows. Links are judged by what they say; a chain of links that climbs only together is left to
the tools that unpack, which look at the real directories.
"""

from __future__ import annotations

import re

#: Bytes; no system has longer paths, so that an entry with one cannot be unpacked.
MAX_NAME = 4096

_SEPARATORS = re.compile(r"[\\/]")
_DRIVE = re.compile(r"[A-Za-z]:")
_UNUSUAL = re.compile(r"[\\\0:]|\.\.|\A/|\A\Z")


def name_fault(name: str) -> str | None:
    """Why an entry must not have this name, as the end of a sentence; None where it may."""
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
    """Why the symbolic link `name` must not point to `target`; None where it may."""
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
    """The path that an entry gets: without "." and without empty parts; "." for the top."""
    if name[-1:] == "/":
        name = name[:-1]
    if name[:1] not in ("", ".", "/") and "//" not in name and "/." not in name:
        return name  # nearly all
    return "/".join(part for part in name.split("/") if part not in ("", ".")) or "."
