"""Whether a mirror root and a catalog are of one and the same run: what each of them says.

A catalog that was put back, or a mirror root, or two catalogs that take turns on one directory:
then pages would name files that are not there. So every run that may change what is served gives
both a new generation, a number with a token that nobody else has, before it changes anything. The
mirror root's is in its private directory, with the catalog that it was given by; with it counts
which directories `simple` and `packages` are, since these alone may be put back, too: by inode and
time of change, since inodes are used again, and nobody can put that time back. Runs change it, and
note it at their end; after one that was killed, there is a doubt. The rules:

* Both are equal, or every file that a page names is looked for before anything else is done
  (`pypimirror.pipeline.audit.doubt`). That it is to be looked for is in the catalog before both are
  equal again, until it was done: a run that dies in between leaves the doubt, and no lie.
* Which of the two is written first does not matter then, nor whether one of them survives a power
  cut: what differs costs a look at every file, and is no error that anybody has to mend.

Imports nothing that is slow, and writes nothing.
"""

from __future__ import annotations

import os
import secrets

from pypimirror.system import regular

#: The file in the private directory.
FILE = "generation"

#: Bytes: no generation has more.
_MOST = 4096


def said_by(private: str) -> tuple[str, str]:
    """Return generation and catalog that a private directory names; "" where it names none."""
    try:
        text = regular.read(f"{private}/{FILE}", most=_MOST).decode()
    except (OSError, ValueError):
        return "", ""
    generation, _, catalog = text.partition("\n")
    return generation.strip(), catalog.strip()


def identity_of(root: str) -> str:
    """Return which directories the mirror root at `root` serves; raises `OSError`."""
    found = [os.stat(f"{root}/{name}") for name in ("simple", "packages")]  # noqa: PTH116
    return " ".join(f"{each.st_ino}.{each.st_ctime_ns}" for each in found)


def as_found(generation: str, identity: str) -> str:
    """Return what a catalog notes of a generation that what is served is of."""
    return f"{generation} {identity}".rstrip()


def is_of(noted: str | None, doubt: str | None, said: str, identity: str) -> bool:
    """Whether a catalog that has noted this is of one run with what is served.

    `said` is the generation that the private directory names. A catalog without a note, from before
    there were any, is of a mirror root without one.
    """
    if doubt is not None:
        return False
    return not said if noted is None else noted == as_found(said, identity)


def is_of_root(noted: str | None, doubt: str | None, root: str) -> bool:
    """Say the same of a mirror root that is a directory. Raises `OSError`."""
    said, _ = said_by(f"{root}/.pypimirror")
    return is_of(noted, doubt, said, identity_of(root))


def after(noted: str | None, said: str) -> str:
    """Return a new generation: of a higher number than both, and with a token of its own."""
    return f"{max(_number(noted), _number(said)) + 1}-{secrets.token_hex(8)}"


def _number(text: str | None) -> int:
    digits = (text or "").partition("-")[0]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 18 else 0
