"""Requirements files, as far as they say what to mirror.

The format is pip's, encodings included: comments, continued lines, `-r` and `-c` includes,
`--hash`, environment variables. What has no meaning for a mirror (addresses, paths, options on
how to install) is passed over, and said once.
Source: https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from pypimirror import texts
from pypimirror.model import PypimirrorError

_COMMENT = re.compile(r"(?:^|\s)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_INCLUDE = re.compile(r"(-r|--requirement|-c|--constraint)(?:\s+|=)(\S.*)")
_HASH = re.compile(r"\s+--hash(?:=|\s+)(?P<algorithm>[a-z0-9]+):(?P<digest>[0-9a-fA-F]+)")
_OPTIONS = re.compile(r"\s--?[a-zA-Z].*$")

log = logging.getLogger("pypimirror")


class RequirementsError(PypimirrorError):
    """A requirements file that cannot be read; the message names file and line."""


@dataclass(frozen=True)
class Required:
    """One requirement of a file."""

    requirement: Requirement
    source: str  #: file and line
    hashes: frozenset[tuple[str, str]] = frozenset()  #: algorithm and lower-case hex


def read(path: Path) -> Iterator[Required]:
    """Yield what a file requires, with its constraints applied; raises `RequirementsError`."""
    constraints: dict[str, SpecifierSet] = defaultdict(SpecifierSet)
    required = []
    for item, is_constraint in _read(path, (), constraint=False):
        if is_constraint:
            constraints[canonicalize_name(item.requirement.name)] &= item.requirement.specifier
        else:
            required.append(item)
    for item in required:
        narrower = constraints.get(canonicalize_name(item.requirement.name))
        if narrower is None:
            yield item
        else:
            requirement = Requirement(str(item.requirement))
            requirement.specifier &= narrower
            yield replace(item, requirement=requirement)


def _read(
    path: Path, within: tuple[Path, ...], *, constraint: bool
) -> Iterator[tuple[Required, bool]]:
    """Yield requirements, and whether each is only a constraint."""
    path = Path(os.path.normpath(path.absolute()))
    if path in within:
        raise RequirementsError(f"{path}: includes itself")
    for number, line in _logical_lines(path):
        source = f"{path}:{number}"
        if include := _INCLUDE.fullmatch(line):
            is_constraint = constraint or include[1] in ("-c", "--constraint")
            included = path.parent / include[2].strip()
            yield from _read(included, (*within, path), constraint=is_constraint)
        elif line.startswith("-"):
            log.info("%s: %s: has no meaning for a mirror", source, line.split()[0])
        else:
            item = _required(line, source)
            if item is not None:
                yield item, constraint


def _required(line: str, source: str) -> Required | None:
    hashes = frozenset((h["algorithm"], h["digest"].lower()) for h in _HASH.finditer(line))
    text = _OPTIONS.sub("", _HASH.sub("", line)).strip()
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        if "/" in text or text.startswith(".") or text.endswith((".whl", ".gz", ".zip")):
            log.warning("%s: %s: no index has a path; it is passed over", source, text)
            return None
        cause = str(error).splitlines()[0]
        raise RequirementsError(f"{source}: {text!r} is no requirement: {cause}") from error
    if requirement.url:
        log.warning("%s: %s: no index has an address; it is passed over", source, text)
        return None
    return Required(requirement, source, hashes)


def _logical_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield lines with the number that each begins at, without comments and continuations."""
    try:
        text = texts.read(path)
    except texts.TextError as error:
        raise RequirementsError(f"{path}: {error}") from error
    joined, first = "", 0
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        # A comment line does not go on, whatever it ends with.
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            first = first or number
            joined += line[:-1] + " "
            continue
        whole = _COMMENT.sub("", joined + line).strip()
        if whole:
            whole = _VARIABLE.sub(lambda found: os.environ.get(found[1], found[0]), whole)
            yield first or number, whole
        joined, first = "", 0
