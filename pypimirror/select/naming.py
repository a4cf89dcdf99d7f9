"""Reads the entries of all keys that take entries, and of locks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from msgspec import Struct

from pypimirror.config.settings import Config, ConfigError
from pypimirror.domain.model import ProjectName
from pypimirror.select import entries
from pypimirror.select.entries import Entry
from pypimirror.select.environments import EnvironmentKeyError, Environments
from pypimirror.select.patterns import EntryError

#: What follows "names no project" in a message.
_NEXT = {
    "select.projects": ". Write names into it, or leave it empty to mirror every project",
    "select.locks": " that python and platforms need. Make it again, or drop it from select.locks",
    "on_demand.projects": '. Write names into it, or "*" for every project',
}


class Named(Struct, frozen=True):
    """The entries of a configuration, in their order."""

    projects: list[Entry]  #: of `projects` and `locks`
    exclude: list[Entry]
    linked: list[Entry]  #: of `metadata_only`
    reserved: list[list[Entry]]  #: for each upstream
    rules: list[list[Entry]]  #: for each of `[[select.rules]]`


@contextmanager
def faults(config: Config) -> Iterator[None]:
    """Turn errors of entries and environments into `ConfigError`."""
    try:
        yield
    except EntryError as error:
        raise ConfigError(config.blame(f"{error}")) from error
    except EnvironmentKeyError as error:
        raise ConfigError(config.blame(f"select.{error}")) from error


def read(config: Config, key: str, resolved: Mapping[str, str] | None) -> Named:
    """Read the entries of a configuration; `projects` come from `key`.

    `resolved` are the texts of the resolved locks, by file name; the default is in the private
    directory. If it is given, notes are not logged a second time. Raises `ConfigError`.
    """
    select = config.select
    quiet = resolved is not None  # this is the second selection of a run
    with faults(config):
        environments = Environments(select.python, select.platforms, select.abi)
        each = partial(entries.read, environments=environments, quiet=quiet)
        projects = each(select.projects, key)
        if select.dependencies == "resolved":
            projects = _resolved(projects, environments, config.private, resolved)
        found = Named(
            projects + _locked(select.locks, environments, quiet=quiet),
            each(select.exclude, "select.exclude"),
            each(select.metadata_only, "select.metadata_only"),
            [each(u.reserved, f"upstream {u.name}.reserved") for u in config.upstream],
            [
                each(rule.projects, f"select.rules[{number}].projects")
                for number, rule in enumerate(select.rules)
            ],
        )
    if (select.projects or select.locks) and not found.projects:
        # An empty list would mean every project, and an empty selection would drop the mirror.
        key = key if select.projects else "select.locks"
        given = ", ".join(select.projects or select.locks)
        raise ConfigError(config.blame(f"{key}: {given}: names no project{_NEXT[key]}"))
    return found


def _resolved(
    named: list[Entry],
    environments: Environments,
    private: Path,
    texts: Mapping[str, str] | None,
) -> list[Entry]:
    """Return `named` with the entries of resolved locks, if any, instead of named projects."""
    from pypimirror.select import locked

    kept = locked.kept(private / locked.RESOLVED, texts)
    if not kept:
        return named
    # Globs and regular expressions cannot be resolved.
    found = [entry for entry in named if entry.pattern is not None]
    return [*found, *locked.entries(kept, environments)]


def _locked(patterns: Sequence[str], environments: Environments, *, quiet: bool) -> list[Entry]:
    """Return the entries of locks; raises `EntryError`."""
    if not patterns:
        return []
    from pypimirror.select import locked  # few configurations have any

    locks = locked.read(patterns)
    if not quiet:
        locked.tell(locks)
    return list(locked.entries(locks, environments))


def by_name(projects: Sequence[Entry]) -> dict[ProjectName, list[tuple[int, Entry]]]:
    """Return the entries that name one project, by its name, with their positions."""
    found: dict[ProjectName, list[tuple[int, Entry]]] = defaultdict(list)
    for position, entry in enumerate(projects):
        if entry.name is not None:
            found[entry.name].append((position, entry))
    return dict(found)
