"""The text of a lock file, as TOML or JSON, with line numbers and within bounds."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from pypimirror.domain import bounded
from pypimirror.domain.addresses import redacted
from pypimirror.domain.filenames import check_filename, printable
from pypimirror.domain.model import ProjectName
from pypimirror.select.locks.lock import LockedFile, UnreadableLockError, digest
from pypimirror.system import regular

#: Bytes of the largest lock that is read: ten times the largest known one.
MOST = 16 << 20

Table = dict[str, Any]

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class TextPlace:
    """The place of a text in a lock. Its line is computed only for a message."""

    document: LockDocument
    text: str
    after: int

    def __str__(self) -> str:
        return self.document.at(self.document.find_line(self.text, self.after))


class LockDocument:
    """The text and the values of a lock file. Every error is an `UnreadableLockError`."""

    def __init__(self, path: Path, text: str | None = None) -> None:
        self.path = path
        self.text = _text(path) if text is None else text
        self.values = self._parsed()

    def _parsed(self) -> Table:
        raise NotImplementedError

    def at(self, line: int) -> str:
        """Return a place in the form of messages."""
        return f"{self.path}:{line}"

    def line_of(self, position: int) -> int:
        """Return the line of a position in the text."""
        return self.text.count("\n", 0, position) + 1

    def line_with(self, text: object, after: int = 1) -> TextPlace:
        """Return the place of the first line from `after` on that contains a text; else `after`."""
        return TextPlace(self, str(text), after)

    def find_line(self, text: str, after: int) -> int:
        """Return the number of that line."""
        for number in range(after, len(self._lines) + 1) if text else ():
            if text in self._lines[number - 1]:
                return number
        return after

    @cached_property
    def _lines(self) -> list[str]:
        return self.text.split("\n")

    def check_version(self, stated: object, known: tuple[str, ...], place: object) -> None:
        """Raise `UnreadableLockError` if the version of a format is unknown."""
        if str(stated) not in known:
            shown = printable(str(stated), 40)
            cause = "names no version of its format" if stated is None else f"has version {shown}"
            raise UnreadableLockError(
                f"{place}: {cause}, and only {' and '.join(known)} can be read; make the lock with "
                "a tool that writes this, or look for a newer pypimirror"
            )

    def check_major(self, stated: object, known: tuple[int, ...], key: str) -> None:
        """Do the same for a format that stays readable until the next major version."""
        major = str(stated).partition(".")[0]
        if stated is None or major not in map(str, known):
            versions = tuple(f"{number}.x" for number in known)
            self.check_version(stated, versions, self.line_with(key))

    def table(self, values: Table, key: str, line: int) -> Table:
        """Return the table of a key; an empty one if it is missing."""
        return self.of_type(values.get(key, {}), dict, self.at(line), f"{key!r}")  # type: ignore[no-any-return]

    def of_type(self, value: object, kind: type, place: object, what: str) -> Any:
        """Return a value of the type that the format requires; else raise `UnreadableLockError`."""
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        name = {dict: "table", list: "list", str: "text", int: "whole number"}[kind]
        raise UnreadableLockError(f"{place}: {what} is no {name}; make the lock again")

    def project(self, value: object, place: str) -> ProjectName:
        """Return the normalised name of a project; raises `UnreadableLockError`."""
        return project_name(self.of_type(value, str, place, "the name of a package"), place)

    def filename(self, value: object, project: ProjectName, place: object) -> str:
        """Return the name of a file of a project; raises `UnreadableLockError`."""
        text: str = self.of_type(value, str, place, "the name of a file")
        if problem := check_filename(text, project):
            raise UnreadableLockError(f"{place}: {problem.message}")
        return text


class TomlDocument(LockDocument):
    """A lock in TOML."""

    def _parsed(self) -> Table:
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise UnreadableLockError(_toml_fault(self, error)) from error
        except (RecursionError, ValueError) as error:  # Python's limits, which TOML does not have
            raise UnreadableLockError(f"{self.at(1)}: cannot be read: {_bound(error)}") from error

    def tables(self, key: str) -> Iterator[tuple[Table, int]]:
        """Yield the tables of an array, each with the line of its head."""
        if key not in self.values:
            raise UnreadableLockError(
                f"{self.path}: names no {key!r} at all: it may be cut off; make it again"
            )
        found = self.values[key]
        found = self.of_type(found, list, self.at(1), f"{key!r}")
        heads = [m.end() for m in re.finditer(rf"(?m)^[ \t]*\[\[[ \t]*{key}[ \t]*\]\]", self.text)]
        if len(heads) != len(found):  # another notation, such as [{…}, {…}]
            heads = [0] * len(found)
        line, last = 1, 0
        for table, position in zip(found, heads, strict=True):
            line, last = line + self.text.count("\n", last, position), position
            named = re.compile(r"[^\[]*?\n[ \t]*name[ \t]*=").match(self.text, position)
            behind = self.text.count("\n", position, named.end()) if named else 0
            place = self.at(line + behind)
            yield self.of_type(table, dict, place, f"one of {key!r}"), line + behind

    def files(self, listed: object, project: ProjectName, line: int) -> tuple[LockedFile, ...]:
        """Return files that are named by `file` or `url`, with their `hash` and `size`."""
        place = self.at(line)
        return tuple(
            self.file(self.of_type(each, dict, place, "the entry of a file"), project, line)
            for each in self.of_type(listed, list, place, f"the list of the files of {project}")
        )

    def file(self, table: Table, project: ProjectName, line: int) -> LockedFile:
        """Return the file that a table names by `file` or `url`, with its `hash` and `size`."""
        place = self.at(line)
        url, name = table.get("url"), table.get("file")
        if url is not None:
            self.of_type(url, str, place, f"an address of {project}")
            name = name_in(url, self.line_with(url, line)) if name is None else name
        filename = self.filename(name, project, self.line_with(url or name, line))
        size = table.get("size")
        if size is not None:
            self.of_type(size, int, place, f"the size of {filename}")
        stated = table.get("hash")
        digests = set()
        if stated is not None:
            text = self.of_type(stated, str, place, f"the hash of {filename}")
            digests = {digest(text, self.line_with(text, line))}
        return LockedFile(filename, frozenset(filter(None, digests)), url, size)


class JsonDocument(LockDocument):
    """A lock in JSON."""

    def _parsed(self) -> Table:
        def check(pairs: list[tuple[str, Any]]) -> Table:
            table: Table = {}
            for key, value in pairs:
                if key in table:
                    raise _TwiceError(key)
                table[key] = value
            return table

        try:
            found = json.loads(self.text, object_pairs_hook=check)
        except json.JSONDecodeError as error:
            raise UnreadableLockError(
                f"{self.at(error.lineno)}: is no JSON: {error.msg}"
            ) from error
        except _TwiceError as error:
            key = re.escape(json.dumps(error.key))
            places = [m.start() for m in re.finditer(rf"{key}\s*:", self.text)]
            line = self.line_of(places[1]) if len(places) > 1 else 1
            shown = printable(error.key, 80)
            raise UnreadableLockError(f"{self.at(line)}: has the key {shown!r} twice") from error
        except (RecursionError, ValueError) as error:
            raise UnreadableLockError(f"{self.at(1)}: cannot be read: {_bound(error)}") from error
        return self.of_type(found, dict, self.at(1), "the document")  # type: ignore[no-any-return]

    def line_of_key(self, key: str, position: int = 0) -> tuple[int, int]:
        """Return the line of the next key after a position, and the position after the key."""
        found = re.compile(rf"{re.escape(json.dumps(key))}\s*:").search(self.text, position)
        return (self.line_of(found.start()), found.end()) if found else (1, position)


def name_in(url: str, place: object) -> str:
    """Return the name of the file that an address ends with; raises `UnreadableLockError`."""
    try:
        return unquote(urlsplit(url).path.rpartition("/")[2])
    except ValueError as error:
        shown = printable(redacted(url), 80)
        raise UnreadableLockError(f"{place}: {shown!r} is no address: {error}") from error


def project_name(text: str, place: str) -> ProjectName:
    """Return the project that a name means; raises `UnreadableLockError`."""
    name = canonicalize_name(text, validate=False)
    if not _NAME.fullmatch(name) or len(name) > bounded.MAX_NAME:
        raise UnreadableLockError(f"{place}: {printable(text, 80)!r} is no name of a project")
    return ProjectName(name)


class _TwiceError(Exception):
    """An object in JSON has a key twice."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _text(path: Path) -> str:
    try:
        data = regular.read_written(path, MOST)
    except regular.NotAFileError as error:
        raise UnreadableLockError(f"{path}: {error.strerror}; name the lock itself") from error
    except FileNotFoundError:
        raise UnreadableLockError(
            f"{path}: there is no such file; name a lock that is there"
        ) from None
    except OSError as error:
        raise UnreadableLockError(f"{path}: cannot be read: {error.strerror}") from error
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UnreadableLockError(
            f"{path}:{line}: has the byte 0x{data[error.start]:02x}, which is not UTF-8; every "
            "tool writes locks in UTF-8"
        ) from error


def _toml_fault(document: LockDocument, error: tomllib.TOMLDecodeError) -> str:
    cause = str(error)
    found = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", cause)
    last = document.text.rstrip("\n").count("\n") + 1
    line = (bounded.natural(found[1]) if found else None) or last
    said = cause[: found.start()] if found else cause
    if found and not found[1]:
        said += " at the end: the file may be cut off"
    return f"{document.at(line)}: is no TOML: {printable(said, 200)}"


def _bound(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return printable(str(error), 200)
