"""Reads requirements files, as far as they say what to mirror.

The format is pip's, including encodings: comments, continued lines, `-r` and `-c` includes as in a
shell (`-rbase.txt`, quotes, after other options, shortened names of options), `--hash`, environment
variables. Parts that mean nothing to a mirror (addresses, paths, options on how to install) are
ignored and reported once. So are lines that name an index, because `[[upstream]]` decides that.
Includes from another server are refused.

A constraint narrows the requirements of its project. A constraint with a marker does so only if the
marker is met; the environments decide that (`pypimirror.select.entries`).
Source: https://pip.pypa.io/en/stable/reference/requirements-file-format/
"""

from __future__ import annotations

import logging
import os
import re
import shlex
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from msgspec import Struct
from msgspec.structs import replace
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from pypimirror.domain.filenames import is_distribution, printable
from pypimirror.domain.model import PypimirrorError
from pypimirror.select.locks import lock
from pypimirror.select.locks.lock import Digest
from pypimirror.system import texts

_COMMENT = re.compile(r"(?:^|\s)#.*$")
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_INCLUDE = re.compile(r"(?:-(?P<short>[rc])|--(?P<long>[a-z]+)(?:=|\Z))(?P<path>.*)")
#: The options that include a file, each with another option of pip that begins in the same way.
_INCLUDING = {"requirement": "require-hashes", "constraint": "config-settings"}
_ADDRESS = re.compile(r"(?:https?|ftp|file):", re.I)
_HASH = re.compile(r"\s+--hash(?:=|\s+)(?P<digest>\S+)")
_OPTIONS = re.compile(r"\s--?[a-zA-Z].*$")
_LOGIN = re.compile(r"//[^/@\s]*@")
# The name of an option; the value of a short one may follow without a space.
_OPTION = re.compile(r"--[a-z-]+|-[a-zA-Z]")
#: The options that say where packages are, and those that name a package that no index has.
_PLACES = (
    "-i",
    "-f",
    "--index-url",
    "--pypi-url",
    "--extra-index-url",
    "--find-links",
    "--no-index",
)
_EDITABLE = ("-e", "--editable")

log = logging.getLogger("pypimirror")


class RequirementsError(PypimirrorError):
    """A requirements file cannot be read; the message names file and line."""


class Required(Struct, frozen=True):
    """One requirement of a file."""

    requirement: Requirement
    source: str  #: file and line
    hashes: frozenset[Digest] = frozenset()
    narrower: tuple[Requirement, ...] = ()  #: constraints that apply if their marker is met


def read(path: Path, tell: Callable[[str], object] = log.warning) -> Iterator[Required]:
    """Yield the requirements of a file, with its constraints applied; raises `RequirementsError`.

    `tell` is called with a sentence for each ignored part.
    """
    constraints: dict[str, SpecifierSet] = defaultdict(SpecifierSet)
    marked: dict[str, list[Requirement]] = defaultdict(list)
    required = []
    for item, is_constraint in _read(path, (), tell, constraint=False):
        name = canonicalize_name(item.requirement.name)
        if not is_constraint:
            required.append(item)
        elif item.requirement.marker is None:
            constraints[name] &= item.requirement.specifier
        else:
            marked[name].append(item.requirement)
    for item in required:
        name = canonicalize_name(item.requirement.name)
        if name in constraints:
            requirement = Requirement(str(item.requirement))
            requirement.specifier &= constraints[name]
            item = replace(item, requirement=requirement)
        yield replace(item, narrower=tuple(marked[name])) if name in marked else item


def parts(path: Path) -> tuple[list[Required], list[Requirement]]:
    """Return the requirements and the constraints of a file; raises `RequirementsError`.

    For a resolver, which also applies constraints to indirect requirements.
    """
    required, narrower = [], []
    for item, is_constraint in _read(path, (), log.debug, constraint=False):
        if is_constraint:
            narrower.append(item.requirement)
        else:
            required.append(item)
    return required, narrower


def _read(
    path: Path, within: tuple[Path, ...], tell: Callable[[str], object], *, constraint: bool
) -> Iterator[tuple[Required, bool]]:
    """Yield requirements, each with whether it is only a constraint."""
    path = Path(os.path.normpath(path.absolute()))
    if path in within:
        raise RequirementsError(f"{path}: includes itself")
    for number, line in _logical_lines(path):
        source = f"{path}:{number}"
        if line.startswith("-"):
            found = _included(line, source)
            if found is None:
                _pass_over(line, source, tell)
                continue
            included, is_constraint = path.parent / found[0], constraint or found[1]
            yield from _read(included, (*within, path), tell, constraint=is_constraint)
        else:
            item = _required(line, source, tell)
            if item is not None:
                yield item, constraint


def _pass_over(line: str, source: str, tell: Callable[[str], object]) -> None:
    """Report an ignored line that says where packages are, without its value, maybe a password."""
    found = _OPTION.match(line)
    option = found[0] if found else line.split()[0]
    if any(known.startswith(option) for known in _PLACES) and option != "--":
        tell(f"{source}: {option} is ignored: a mirror asks what [[upstream]] names")
    elif option in _EDITABLE:
        tell(f"{source}: {option}: no index has a directory or a repository; it is passed over")
    else:
        log.info("%s: %s: has no meaning for a mirror", source, option)


def _included(line: str, source: str) -> tuple[str, bool] | None:
    """Return the file that a line of options includes, and whether it has only constraints."""
    try:
        parts = shlex.split(line)
    except ValueError as error:
        raise RequirementsError(f"{source}: {_shown(line)}: cannot be read: {error}") from error
    for position, part in enumerate(parts):
        if not (include := _INCLUDE.fullmatch(part)):
            continue
        option = include["short"] or _in_full(include["long"], source)
        if not option:
            continue
        place = include["path"] or "".join(parts[position + 1 : position + 2])
        if not place:
            raise RequirementsError(f"{source}: {part}: names no file; write it behind it")
        return _local(place, source), option.startswith("c")
    return None


def _in_full(written: str, source: str) -> str | None:
    """Return the full name of an option that includes a file: pip accepts shortened names."""
    option = next((option for option in _INCLUDING if option.startswith(written)), None)
    if option is not None and _INCLUDING[option].startswith(written):
        raise RequirementsError(
            f"{source}: --{written}: may be short for --{option} or --{_INCLUDING[option]}, so pip "
            "refuses it; write it in full"
        )
    return option


def _local(place: str, source: str) -> str:
    if not _ADDRESS.match(place):
        return place
    parts = urlsplit(place)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return unquote(parts.path)
    raise RequirementsError(
        f"{source}: {_shown(place)}: only files are read, as what a server says changes; download "
        "it, and name the file"
    )


def _required(line: str, source: str, tell: Callable[[str], object]) -> Required | None:
    hashes = frozenset(_hash(found["digest"], source) for found in _HASH.finditer(line))
    text = _OPTIONS.sub("", _HASH.sub("", line)).strip()
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        if "/" in text or text.startswith(".") or is_distribution(text):
            tell(f"{source}: {_shown(text)}: no index has a path; it is passed over")
            return None
        cause = str(error).splitlines()[0]
        raise RequirementsError(f"{source}: {_shown(text)!r} is no requirement: {cause}") from error
    if requirement.name == text and is_distribution(text):  # it may be a project's name as well
        tell(f"{source}: {text}: no index has a path; it is passed over")
        return None
    if requirement.url:
        tell(f"{source}: {_shown(text)}: no index has an address; it is passed over")
        return None
    return Required(requirement, source, hashes)


def _shown(text: str) -> str:
    """Return part of a line for a message, without the logins in its addresses."""
    return printable(_LOGIN.sub("//", text), 200)


def _hash(text: str, source: str) -> Digest:
    """Read the value of `--hash`. Ignoring a bad one would allow other bytes."""
    try:
        found = lock.digest(text, source)
    except lock.UnreadableLockError as error:
        raise RequirementsError(str(error)) from error
    if found is None:
        raise RequirementsError(f"{source}: --hash {text}: pip knows no such algorithm; use sha256")
    return found


def _logical_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield logical lines with their first line numbers, without comments and continuations."""
    try:
        text = texts.read(path)
    except texts.TextError as error:
        raise RequirementsError(f"{path}: {error}") from error
    joined, first = "", 0
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        # A comment line never continues, whatever its end.
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            first = first or number
            joined += line.rstrip("\\")
            continue
        whole = _COMMENT.sub("", joined + line).strip()
        if whole:
            whole = _VARIABLE.sub(lambda found: os.environ.get(found[1]) or found[0], whole)
            yield first or number, whole
        joined, first = "", 0
