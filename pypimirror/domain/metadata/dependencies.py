"""The requirements of a release, from its files: core metadata, and the build system of an sdist.

Requirements are stored in one normal form: the name is normalised, and extras and versions are
sorted. So equal requirements are equal texts. `split` parses this form. No I/O.

A line that cannot be read is a fault of only that line. It is kept for people, and the other lines
count. An sdist states the requirements of its wheel only from core metadata 2.2 on, and only in
fields that it does not call dynamic. Otherwise they are unknown.

Sources: https://packaging.python.org/en/latest/specifications/core-metadata/ and
https://packaging.python.org/en/latest/specifications/pyproject-toml/
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import msgspec
from packaging.utils import canonicalize_name
from packaging.version import Version

from pypimirror.domain import bounded
from pypimirror.domain.filenames import printable
from pypimirror.domain.metadata.requirements import Requirements

#: Most lines of a document that are read, and most of their faults that are kept.
_MOST, _MOST_FAULTS = 5000, 20

#: The first version of core metadata by which an sdist can say that its wheel requires the same.
_STATIC = Version("2.2")
_DECIDING = frozenset({"requires-dist", "requires-python", "provides-extra"})

#: What pip and uv install for a build if an sdist names nothing. Before version 70.1, setuptools
#: asks for wheel during a build.
_USUAL = ("setuptools>=40.8.0", "wheel")

_Headers: TypeAlias = dict[str, list[str]]
#: Characters of a head that is split into lines at once; a larger one would take much memory.
_MOST_PLAIN = 1 << 20
#: A head in which each line is a name and a value, and no value continues on the next line.
_PLAIN_HEAD = re.compile(r"(?:[A-Za-z0-9-]+:[^\r\n]*\n)*[A-Za-z0-9-]+:[^\r\n]*")

_FORM = re.compile(
    r"(?P<name>[a-z0-9-]+)(?:\[(?P<extras>[^\]]*)\])?(?P<versions>[^;]*)(?:; (?P<marker>.+))?", re.S
)


_CLAUSE = r"(?:>=|<=|<|>|!=|==) ?[0-9]{1,9}(?:\.[0-9]{1,9})*"
#: A name, versions in digits, and a marker: nearly all requirements.
_COMMON = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?) ?"
    rf"(?P<versions>(?:{_CLAUSE}(?: ?, ?{_CLAUSE})*)?)"
    r"(?: ?; ?(?P<marker>.+))?"
)
#: Characters of a requirement that may exceed a bound.
_LONG = bounded.MAX_NAME
#: Requirements and markers that are kept in their normal form.
_CACHED = 20_000


class RequirementParts(NamedTuple):
    """The parts of a requirement."""

    name: str  #: normalised
    extras: tuple[str, ...]
    versions: str  #: "" for every version
    marker: str  #: "": always true


def split(requirement: str) -> RequirementParts:
    """Split a requirement in normal form into its parts."""
    found = _FORM.fullmatch(requirement)
    assert found is not None, requirement
    extras = tuple(found["extras"].split(",")) if found["extras"] else ()
    return RequirementParts(found["name"], extras, found["versions"], found["marker"] or "")


def of_wheel(metadata: bytes) -> Requirements:
    """Return the requirements of a wheel, from its METADATA."""
    return _of_headers(_headers(metadata))


def of_sdist(pkg_info: bytes | None, pyproject: bytes | None) -> Requirements:
    """Return the requirements of an sdist, from its PKG-INFO and its pyproject.toml, if it has
    them.
    """
    build, faults = _build(pyproject)
    if pkg_info is None:
        return Requirements(build=build, faults=faults, unknown="has no PKG-INFO")
    headers = _headers(pkg_info)
    if why := _why_unknown(headers):
        return Requirements(build=build, faults=faults, unknown=why)
    found = _of_headers(headers)
    return msgspec.structs.replace(
        found, build=build, faults=(*found.faults, *faults)[:_MOST_FAULTS]
    )


def _headers(document: bytes) -> _Headers:
    """Return the values of each field, by its name in lower case."""
    head = re.split(rb"\r?\n\r?\n", document, maxsplit=1)[0].decode(errors="replace")
    found: _Headers = {}
    # Most are plain, and `email` takes ten times as long.
    if len(head) < _MOST_PLAIN and _PLAIN_HEAD.fullmatch(head):
        for line in head.split("\n"):
            name, _, value = line.partition(":")
            found.setdefault(name.lower(), []).append(value.lstrip(" \t"))
        return found
    from email.parser import HeaderParser  # slow

    for name, value in HeaderParser().parsestr(head).items():
        found.setdefault(name.lower(), []).append(str(value))
    return found


def _values(headers: _Headers, field: str) -> list[str]:
    return headers.get(field.lower(), [])


def _of_headers(headers: _Headers) -> Requirements:
    requires, faults = _read(_values(headers, "Requires-Dist"), "Requires-Dist")
    python = next(iter(_values(headers, "Requires-Python")), "").strip()
    if python and bounded.specifiers(python) is None:
        faults = (*faults, _fault("Requires-Python", python, "it is no version specifier"))
        python = ""
    return Requirements(requires, python, faults=faults[:_MOST_FAULTS])


def _why_unknown(headers: _Headers) -> str:
    told = next(iter(_values(headers, "Metadata-Version")), "").strip()
    version = bounded.version(told)
    if version is None or version < _STATIC:
        shown = printable(told, 20) or "no version"
        return f"has core metadata of {shown}, which does not say what its wheel requires"
    dynamic = {value.strip().lower() for value in _values(headers, "Dynamic")} & _DECIDING
    if dynamic:
        return f"says that only its build can tell {', '.join(sorted(dynamic))}"
    return ""


def _build(pyproject: bytes | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the build requirements of an sdist, and the lines that cannot be read."""
    if pyproject is None:
        return _USUAL, ()
    import tomllib

    try:
        table: Any = tomllib.loads(pyproject.decode()).get("build-system")
    except (ValueError, RecursionError) as error:
        why = printable(str(error), 100) or "it is nested too deeply"
        return (), (f"pyproject.toml cannot be read: {why}",)
    if table is None:
        return _USUAL, ()
    lines = table.get("requires") if isinstance(table, dict) else None
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        return (), ("pyproject.toml has a build-system without a list of requirements",)
    found, faults = _read(lines, "build-system.requires")
    if any(split(each).name == "setuptools" for each in found):
        found = tuple(dict.fromkeys((*found, "wheel")))
    return found, faults


def _read(lines: Iterable[str], field: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the requirements in some lines, each once, and the faults of the other lines."""
    found: dict[str, None] = {}
    faults = []
    for number, line in enumerate(lines):
        if number == _MOST:
            faults.append(f"{field}: only the first {_MOST} lines are read")
            break
        text = " ".join(line.split())
        try:
            found[_in_one_form(text)] = None
        except ValueError as error:
            faults.append(_fault(field, text, str(error)))
    return tuple(found), tuple(faults[-_MOST_FAULTS:])


@lru_cache(_CACHED)
def _in_one_form(text: str) -> str:
    """Return a requirement in normal form. Raises `ValueError`.

    Releases of a project mostly have the same requirements, so results are kept. If a requirement
    has a common form, `packaging`, which takes long, reads only its marker.
    """
    found = _COMMON.fullmatch(text)
    if found is None or len(text) > _LONG:
        return _in_one_form_of(text)
    versions = found["versions"].replace(" ", "")
    if not _is_plain(versions):
        return _in_one_form_of(text)
    try:
        marker = _marker_in_one_form(found["marker"]) if found["marker"] else ""
    except ValueError:
        return _in_one_form_of(text)
    return f"{canonicalize_name(found['name'])}{','.join(sorted(versions.split(',')))}{marker}"


def _is_plain(versions: str) -> bool:
    """Whether no operator occurs twice: `packaging` drops clauses with the same meaning."""
    if "," not in versions:
        return True
    operators = [clause.rstrip("0123456789.") for clause in versions.split(",")]
    return len(operators) == len(set(operators))


@lru_cache(_CACHED)
def _marker_in_one_form(marker: str) -> str:
    return f"; {bounded.requirement(f'x; {marker}').marker}"


def _in_one_form_of(text: str) -> str:
    requirement = bounded.requirement(text)
    if requirement.url:
        raise ValueError("it names an address, and no index has one")
    extras = ",".join(sorted({canonicalize_name(extra) for extra in requirement.extras}))
    marker = f"; {requirement.marker}" if requirement.marker is not None else ""
    name = canonicalize_name(requirement.name)
    return f"{name}{f'[{extras}]' if extras else ''}{requirement.specifier}{marker}"


def _fault(field: str, text: str, why: str) -> str:
    return f"{field}: {printable(text, 100)!r}: {printable(why, 200)}"
