"""Checks sets of requirements and locks against a mirror. Callers use only this module."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from pypimirror.check import index, locked, subjects, targets
from pypimirror.check.outcome import CheckState, GapKind, Outcome
from pypimirror.check.resolving import RequirementsChecker
from pypimirror.check.shelf import Shelf
from pypimirror.check.subjects import PROJECTS, Wanted
from pypimirror.check.targets import Target
from pypimirror.config.settings import Config, ConfigError
from pypimirror.resolve import uv
from pypimirror.select import locked as locked_files
from pypimirror.select.locks import pins, registry
from pypimirror.select.locks.lock import Lock, UnreadableLockError
from pypimirror.select.patterns import EntryError
from pypimirror.storage.opening import open_storage
from pypimirror.storage.workspace import Workspace
from pypimirror.system import regular


@dataclass(frozen=True)
class Subjects:
    """The requirements and locks to check, with the environments."""

    wanted: tuple[Wanted, ...]
    locks: tuple[tuple[str, Lock], ...]  #: each with its name for people
    targets: tuple[Target, ...]
    is_declared: bool  #: whether somebody has named these environments explicitly


def of_config(
    config: Config, pythons: Sequence[str] = (), platforms: Sequence[str] = ()
) -> Subjects:
    """Return the subjects that the configuration names; raises `ConfigError`."""
    try:
        locks = locked_files.paths(config.select.locks)
    except EntryError as error:
        raise ConfigError(config.blame(str(error))) from error
    return of(config, subjects.of_config(config), locks, pythons, platforms)


def of(
    config: Config,
    wanted: Sequence[Wanted],
    locks: Sequence[Path],
    pythons: Sequence[str] = (),
    platforms: Sequence[str] = (),
) -> Subjects:
    """Return the subjects for the requested environments; raises `ConfigError`."""
    select = config.select
    environments = targets.chosen(pythons, platforms, select.python, select.platforms)
    is_declared = bool(pythons or platforms or select.python or select.platforms)
    read = [(str(path), _read(registry.read, path)) for path in locks]
    read += [(each.name, _read(pins.read, each.lock)) for each in wanted if each.lock is not None]
    resolved = tuple(each for each in wanted if each.lock is None)
    return Subjects(resolved, tuple(read), environments, is_declared)


def shelf_of(config: Config) -> Shelf:
    """Return what the mirror offers to installers."""
    storage = open_storage(Workspace(config.directory), None, config.bucket)
    return Shelf(storage, config.publish.base_url)


def check(
    config: Config, asked: Subjects, *, builds: bool = False, asks_pip: bool = False
) -> Iterator[Outcome]:
    """Yield the outcome for each subject in each environment.

    Raises `ResolveError`, and `StorageError` if the mirror cannot be read.
    """
    shelf = shelf_of(config)
    # A lock names files for all machines: without environments, all of its files are checked.
    for name, lock in asked.locks:
        yield from locked.check(shelf, lock, name, asked.targets if asked.is_declared else ())
    if not asked.wanted:
        return
    resolver = uv.find()
    with ExitStack() as stack:
        served = stack.enter_context(index.served(shelf, builds=builds))
        checker = RequirementsChecker(resolver, served, builds, asks_pip)
        for wanted in asked.wanted:
            for target in asked.targets:
                try:
                    found = _checked(checker, wanted, target)
                finally:
                    served.raise_fault()
                yield found


def identity(asked: Subjects) -> str:
    """Return an identifier that changes if any of the subjects changes."""
    wanted = [
        (each.name, [str(r) for r in each.requirements], [str(c) for c in each.constraints])
        for each in asked.wanted
    ]
    locks = [(name, hashlib.sha256(_bytes(lock)).hexdigest()) for name, lock in asked.locks]
    text = json.dumps([wanted, locks, [str(target) for target in asked.targets]])
    return hashlib.sha256(text.encode()).hexdigest()


def _checked(checker: RequirementsChecker, wanted: Wanted, target: Target) -> Outcome:
    """Check a set. Entries of `projects` need not fit together; each is checked alone."""
    found = checker.check(wanted, target)
    if wanted.name != PROJECTS or not any(gap.kind is GapKind.CONFLICT for gap in found.gaps):
        return found
    apart = [checker.check(each, target) for each in wanted.apart()]
    gaps = tuple(dict.fromkeys(gap for outcome in apart for gap in outcome.gaps))
    state = CheckState.MISSING if gaps else CheckState.COMPLETE
    releases = sum(outcome.releases for outcome in apart)
    return Outcome(wanted.name, target.python, target.platform, state, releases, gaps)


def _bytes(lock: Lock) -> bytes:
    try:
        return regular.read_written(lock.path)
    except OSError as error:
        raise ConfigError(f"{lock.path}: cannot be read: {error.strerror}") from error


def _read(reader: Callable[[Path], Lock], path: Path) -> Lock:
    try:
        return reader(path.absolute())
    except UnreadableLockError as error:
        raise ConfigError(str(error)) from error
