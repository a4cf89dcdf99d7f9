"""The rules on a project as a whole, for files that passed the checks of single files. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from packaging.version import Version

from pypimirror.config.selecting import RuleKeys
from pypimirror.domain.sizes import number_of
from pypimirror.select.facts import Facts


def _latest(keys: RuleKeys, files: Sequence[Facts]) -> tuple[set[str], str]:
    releases = releases_of(files) if keys.latest else {}
    if len(releases) <= keys.latest:
        return set(), ""
    newest = sorted(releases, key=by_version, reverse=True)
    if keys.latest_by == "time":
        newest.sort(key=lambda name: _first_upload(releases[name]), reverse=True)
    dropped = newest[keys.latest :]
    return (
        {facts.file.filename for name in dropped for facts in releases[name]},
        f"not among the newest {keys.latest} of {len(releases)} releases, by {keys.latest_by}",
    )


def _min_versions(keys: RuleKeys, files: Sequence[Facts]) -> tuple[set[str], str]:
    number = len(releases_of(files)) if keys.min_versions else 0
    if number >= keys.min_versions:
        return set(), ""
    return {
        facts.file.filename for facts in files
    }, f"the project has {number_of(number, 'release')}"


def _max_versions(keys: RuleKeys, files: Sequence[Facts]) -> tuple[set[str], str]:
    number = len(releases_of(files)) if keys.max_versions else 0
    if number <= keys.max_versions:
        return set(), ""
    return {
        facts.file.filename for facts in files
    }, f"the project has {number_of(number, 'release')}"


def _max_project_size(keys: RuleKeys, files: Sequence[Facts]) -> tuple[set[str], str]:
    size = sum(facts.file.size or 0 for facts in files)
    if not keys.max_project_size or size <= keys.max_project_size:
        return set(), ""
    return {facts.file.filename for facts in files}, f"the project has {size} bytes"


def releases_of(files: Sequence[Facts]) -> dict[Version | str, list[Facts]]:
    """Group files by version; files without a readable version by the text in its place."""
    found: dict[Version | str, list[Facts]] = {}
    for facts in files:
        found.setdefault(facts.release, []).append(facts)
    return found


def by_version(release: Version | str) -> tuple[bool, Any]:
    """Order releases by version; those without one come first."""
    return (isinstance(release, Version), release)


def _first_upload(files: Iterable[Facts]) -> float:
    return min((f.uploaded for f in files if f.uploaded is not None), default=0.0)


#: The rules, in the order in which they decide. Each returns the files to leave out, and the fact.
WHOLE: tuple[tuple[str, Callable[[RuleKeys, Sequence[Facts]], tuple[set[str], str]]], ...] = (
    ("min_versions", _min_versions),
    ("latest", _latest),
    ("max_versions", _max_versions),
    ("max_project_size", _max_project_size),
)
