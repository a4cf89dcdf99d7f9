"""Whether a mirror root and a catalog are from the same run: the generation that both store.

If a catalog or a mirror root is restored, or if two catalogs work on one directory in turn, pages
may link to missing files. So every run that may change served files gives both a new generation,
before it changes anything. A generation is a number with a random token. The mirror root stores it
in a note (`Storage.note`), with the name of the catalog. The identity of the directories `simple`
and `packages` counts too, because these may be restored alone. It consists of inode and ctime:
inodes are used again, and nobody can set the ctime. Runs change these directories and note the
identity at their end; after a killed run there is a doubt. A storage without directories has no
such identity. The rules:

* If both are equal, all is well. Otherwise every file that a page links to is checked before any
  other work (`pypimirror.pipeline.audit.doubt`). The doubt is stored in the catalog before both
  become equal again, and stays until the check is complete. So a run that dies in between leaves
  the doubt behind.
* Therefore it does not matter which of them is written first, or whether one of them is lost in a
  power cut. A difference costs a check of every file, and is not an error.

This module imports nothing slow, and writes nothing.
"""

from __future__ import annotations

import os

#: The note of the mirror root.
NOTE = "generation"


def read(text: str | None) -> tuple[str, str]:
    """Return the generation and the catalog in a note; "" if it has none."""
    generation, _, catalog = (text or "").partition("\n")
    return generation.strip(), catalog.strip()


def identity_of(root: str) -> str:
    """Return the identity of the served directories of a mirror root. Raises `OSError`."""
    found = [os.stat(f"{root}/{name}") for name in ("simple", "packages")]  # noqa: PTH116
    return " ".join(f"{each.st_ino}.{each.st_ctime_ns}" for each in found)


def as_found(generation: str, identity: str) -> str:
    """Return the text that a catalog stores: the generation and the identity of served
    directories.
    """
    return f"{generation} {identity}".rstrip()


def is_of(noted: str | None, doubt: str | None, on_disk: str, identity: str) -> bool:
    """Whether a catalog with this stored text is from the same run as the served files.

    `on_disk` is the generation in the mirror root. A catalog without a stored text is from an
    older version and matches a mirror root without a generation.
    """
    if doubt is not None:
        return False
    return not on_disk if noted is None else noted == as_found(on_disk, identity)


def after(noted: str | None, on_disk: str) -> str:
    """Return a new generation: a number greater than both, and a new token."""
    return f"{max(_number(noted), _number(on_disk)) + 1}-{os.urandom(8).hex()}"


def _number(text: str | None) -> int:
    digits = (text or "").partition("-")[0]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 18 else 0
