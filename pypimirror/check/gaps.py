"""Finds why something cannot be installed from this mirror: what is missing, and who needs it.

A resolver only says that nothing fits. An operator needs to know which project, version or wheel to
mirror. So this module starts at the requested requirements and follows the newest fitting releases
by their core metadata. It notes each requirement that nothing on the mirror meets. The resolver
decides that something is missing. If no single requirement explains it, it is a conflict.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from pypimirror.check.outcome import Gap, GapKind
from pypimirror.check.shelf import DAMAGED, Shelf, ShelfFile, ShelfPage
from pypimirror.check.targets import Target
from pypimirror.domain import bounded

#: Most steps of one search; no application needs more.
_MOST = 20_000

_Step = tuple[Requirement, tuple[str, ...]]


def find(
    shelf: Shelf,
    target: Target,
    roots: Sequence[Requirement],
    constraints: Mapping[str, SpecifierSet],
    chain: tuple[str, ...] = (),
) -> list[Gap]:
    """Return the gaps; those nearest to the requested requirements come first."""
    waiting: deque[_Step] = deque((root, chain) for root in roots if target.meets(root.marker))
    seen: set[tuple[str, str, frozenset[str]]] = set()
    found: dict[tuple[str, str], Gap] = {}
    while waiting and len(seen) < _MOST:
        required, by = waiting.popleft()
        project = canonicalize_name(required.name)
        versions = required.specifier & constraints.get(project, SpecifierSet())
        key = project, str(versions), frozenset(required.extras)
        if key in seen:
            continue
        seen.add(key)
        meant = f"{project}{versions}"
        file, gap = choose(shelf.offer(project), target, project, versions, by)
        if gap is not None:
            found.setdefault((project, meant), gap)
        if file is not None:
            waiting.extend(_next(shelf, target, file, required, by))
            if gap is None and (why := _unknown(shelf, file)):
                found[project, meant] = Gap(GapKind.UNKNOWN, project, meant, why, by, file.filename)
    return list(found.values())


def choose(
    offer: ShelfPage | None,
    target: Target,
    project: str,
    versions: SpecifierSet,
    by: tuple[str, ...],
) -> tuple[ShelfFile | None, Gap | None]:
    """Return the file that an installer would choose, or why there is none."""
    meant = f"{project}{versions}"

    def gap(kind: GapKind, message: str) -> tuple[None, Gap]:
        return None, Gap(kind, project, meant, message, by)

    if offer is None:
        return gap(GapKind.PROJECT, "the mirror has no such project")
    if offer.is_damaged:
        return gap(GapKind.LOST, DAMAGED)
    fitting = [file for file in offer.files if _is_meant(file, versions)]
    if not fitting and offer.lost:
        return gap(GapKind.LOST, f"{offer.lost[-1]} is on its page, and not on the mirror")
    if not fitting and offer.away:
        return gap(GapKind.AWAY, "its files stay at the upstream (metadata_only)")
    if not fitting:
        here = sorted({file.version for file in offer.files})
        told = f"the newest here is {here[-1]}" if here else "none of its files is here"
        if here and here[-1] in versions:
            told = f"{here[-1]} is yanked"
        return gap(GapKind.VERSION, f"no version here fits: {told}")
    running = [f for f in fitting if target.environments.admit(f.requires_python)]
    if not running:
        newest = max(fitting, key=lambda file: file.version)
        wants = f"{newest.version} wants Python {newest.requires_python}"
        return gap(GapKind.PYTHON, f"nothing that fits runs on Python {target.python}: {wants}")
    usable = [f for f in running if not f.is_wheel or target.environments.install(f.tags)]
    if not usable:
        newest = max(running, key=lambda file: file.version)
        return gap(
            GapKind.PLATFORM,
            f"{newest.version} has no wheel here for this environment, and no sdist",
        )
    stable = [file for file in usable if not file.version.is_prerelease] or usable
    return max(stable, key=lambda file: (file.version, file.is_wheel)), None


def _is_meant(file: ShelfFile, versions: SpecifierSet) -> bool:
    """Whether a file has a requested version; a yanked file only counts for a pinned version."""
    if file.yanked is not None and not any(each.operator in ("==", "===") for each in versions):
        return False
    return versions.contains(file.version, prereleases=True)


def _next(
    shelf: Shelf, target: Target, file: ShelfFile, required: Requirement, by: tuple[str, ...]
) -> Iterator[_Step]:
    """Yield the requirements of a file, to run and to be built."""
    known = shelf.requirements(file)
    name = f"{file.project} {file.version}"
    asked = ("", *sorted(required.extras))
    for needed in parsed(known.requires):
        if any(target.meets(needed.marker, extra) for extra in asked):
            yield needed, (*by, name)
    if not file.is_wheel:
        for needed in parsed(known.build):
            if target.meets(needed.marker):
                yield needed, (*by, f"{name} (to build {file.filename})")


def parsed(texts: Sequence[str]) -> Iterator[Requirement]:
    """Yield requirements; unreadable ones are left out."""
    for text in texts:
        with suppress(ValueError):
            yield bounded.requirement(text)


def _unknown(shelf: Shelf, file: ShelfFile) -> str:
    """Return why the requirements of an sdist are unknown."""
    why = "" if file.is_wheel else shelf.requirements(file).unknown
    return f"it is here only as an sdist, which {why}" if why else ""
