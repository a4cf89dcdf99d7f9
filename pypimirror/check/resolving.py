"""Checks sets of requirements: uv resolves each against the mirror root, for each environment.

A solution of uv is not enough. Each release must have a file here that its environment accepts. A
release with only an sdist must be built, so the requirements of its build are resolved as well.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from pypimirror.check import gaps
from pypimirror.check.index import ServedIndex
from pypimirror.check.outcome import CheckState, Gap, GapKind, Outcome
from pypimirror.check.shelf import Shelf, ShelfFile
from pypimirror.check.subjects import Wanted
from pypimirror.check.targets import Target
from pypimirror.resolve import pip
from pypimirror.resolve.child import NoSolutionError, ResolveError
from pypimirror.resolve.uv import Indexes, ResolveRequest, Uv

#: How many sdists are removed from pages in one resolution, and how deep builds may need builds.
_MOST_TRIES, _MOST_BUILDS = 200, 50


@dataclass
class RequirementsChecker:
    """Checks sets of requirements against one mirror root while it is served."""

    resolver: Uv
    served: ServedIndex
    builds: bool = False  #: whether code of packages may run
    asks_pip: bool = True
    _done: dict[tuple[str, str], list[Gap]] = field(default_factory=dict)

    @property
    def shelf(self) -> Shelf:
        """The files that the mirror root offers."""
        return self.served.shelf

    def check(self, wanted: Wanted, target: Target) -> Outcome:
        """Say whether a set can be installed in one environment; raises `ResolveError`."""
        if target.resolved_for is None:
            note = f"not checked: uv knows no platform such as {target.platform}"
            return self._outcome(wanted, target, CheckState.NOT_CHECKED, notes=(note,))
        lines = [str(each) for each in wanted.requirements if target.meets(each.marker)]
        narrower = [str(each) for each in wanted.constraints if target.meets(each.marker)]
        self.served.unknown.clear()  # another set, or another environment, may not allow them
        found = self._resolved(wanted, target, lines, narrower, ())
        if isinstance(found, list):
            return self._outcome(wanted, target, CheckState.MISSING, missing=found)
        missing = [*self._unknown(found), *self._unusable(found, target)]
        notes: list[str] = []
        if not missing and target.is_running and self.asks_pip and lines:
            missing, notes = self._by_pip(lines, narrower, found, target)
        state = CheckState.MISSING if missing else CheckState.COMPLETE
        return self._outcome(wanted, target, state, len(found), missing, tuple(notes))

    def _outcome(
        self,
        wanted: Wanted,
        target: Target,
        state: CheckState,
        releases: int = 0,
        missing: Sequence[Gap] = (),
        notes: tuple[str, ...] = (),
    ) -> Outcome:
        return Outcome(
            wanted.name, target.python, target.platform, state, releases, tuple(missing), notes
        )

    def _resolved(
        self,
        wanted: Wanted,
        target: Target,
        lines: Sequence[str],
        narrower: Sequence[str],
        chain: tuple[str, ...],
    ) -> dict[str, str] | list[Gap]:
        """Return the versions that uv chooses, by project, or the gaps."""
        if not lines:
            return {}
        assert target.resolved_for is not None
        question = ResolveRequest(
            tuple(lines), tuple(narrower), environment=target.resolved_for, builds=True
        )
        index = Indexes(self.served.url, cache=self.served.cache)
        for _ in range(_MOST_TRIES):
            known = len(self.served.unknown)
            try:
                return _chosen(self.resolver.resolve(question, index))
            except ResolveError as error:
                if len(self.served.unknown) > known:
                    continue  # ask again without the sdists that uv would have to build
                if not isinstance(error, NoSolutionError):
                    raise
                return self._missing(wanted, target, lines, chain, str(error))
        raise ResolveError(f"{wanted.name}: more than {_MOST_TRIES} sdists must be built")

    def _missing(
        self,
        wanted: Wanted,
        target: Target,
        lines: Sequence[str],
        chain: tuple[str, ...],
        said: str,
    ) -> list[Gap]:
        roots = list(gaps.parsed(lines))
        found = gaps.find(self.shelf, target, roots, wanted.narrower(target), chain)
        if self.builds:
            found = [gap for gap in found if gap.kind is not GapKind.UNKNOWN]
        return found or [
            Gap(GapKind.CONFLICT, "", "", f"the releases here do not fit together: {said}")
        ]

    def _unknown(self, found: dict[str, str]) -> Iterator[Gap]:
        """Yield sdists that an installer would prefer to the releases that uv could choose."""
        for held, why in self.served.unknown.values():
            chosen = found.get(held.project)
            if chosen is not None and held.version in SpecifierSet(f">{chosen}"):
                yield Gap(
                    GapKind.UNKNOWN,
                    held.project,
                    f"{held.project}=={held.version}",
                    f"an installer takes it before {chosen}, and builds it: it {why}",
                    file=held.filename,
                )

    def _unusable(
        self, found: dict[str, str], target: Target, by: tuple[str, ...] = ()
    ) -> Iterator[Gap]:
        """Yield gaps of chosen releases: they cannot be installed, or not be built."""
        for project, version in found.items():
            offer, exactly = self.shelf.offer(project), SpecifierSet(f"=={version}")
            file, gap = gaps.choose(offer, target, project, exactly, by)
            if gap is not None:
                yield gap
            elif file is not None and not file.is_wheel:
                yield from self._unbuildable(file, target, by)

    def _unbuildable(self, file: ShelfFile, target: Target, chain: tuple[str, ...]) -> list[Gap]:
        """Return the gaps for the build of an sdist, and for builds that this build needs."""
        key = file.path, str(target)
        if key in self._done or len(chain) > _MOST_BUILDS:
            return []
        self._done[key] = []
        by = (*chain, f"{file.project} {file.version} (to build {file.filename})")
        needed = [
            each
            for each in gaps.parsed(self.shelf.requirements(file).build)
            if target.meets(each.marker)
        ]
        wanted = Wanted(file.filename, tuple(needed))
        lines = [str(each) for each in needed]
        found = self._resolved(wanted, target, lines, (), by)
        missing = found if isinstance(found, list) else list(self._unusable(found, target, by))
        self._done[key] = missing
        return missing

    def _by_pip(
        self,
        lines: Sequence[str],
        narrower: Sequence[str],
        found: dict[str, str],
        target: Target,
    ) -> tuple[list[Gap], list[str]]:
        """Check with pip, too, for the running environment."""
        if not pip.is_here():
            return [], ["pip was not asked: it is not installed beside this program"]
        has_sdists = any(self._is_built(project, text, target) for project, text in found.items())
        if has_sdists and not self.builds:
            return [], ["pip was not asked: it runs the code of sdists; with --build it may"]
        try:
            chosen = pip.dry_run(lines, narrower, self.served.url, builds=self.builds)
        except NoSolutionError as error:
            message = f"uv finds a way, and pip does not: {error}"
            return [Gap(GapKind.INSTALLER, "", "", message)], []
        others = {canonicalize_name(name): version for name, version in chosen.items()}
        if others != found:
            return [], ["pip chooses other releases than uv; each set is here as a whole"]
        return [], []

    def _is_built(self, project: str, version: str, target: Target) -> bool:
        offer, exactly = self.shelf.offer(project), SpecifierSet(f"=={version}")
        file, _ = gaps.choose(offer, target, project, exactly, ())
        return file is not None and not file.is_wheel


def _chosen(lock: str) -> dict[str, str]:
    """Return the versions in a `pylock.toml`, by project."""
    packages = tomllib.loads(lock).get("packages", [])
    return {canonicalize_name(each["name"]): each["version"] for each in packages}
