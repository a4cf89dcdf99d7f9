"""The rules on files: each key that is set is one check; all of them together decide.

Checks look at one file at a time, in the order of `_CHECKS`, and the first that refuses says why.
What they let through is then looked at as a whole (`at_least`, `latest`, `max_versions`,
`max_project_size`). Where time alone will change a decision, it says when. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from math import inf
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from pypimirror.filenames import version_of, version_text
from pypimirror.model import File
from pypimirror.select import metadata
from pypimirror.select.entries import pattern
from pypimirror.select.environments import Environments
from pypimirror.select.keys import RuleKeys
from pypimirror.select.metadata import Metadata


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a file is mirrored, and why."""

    selected: bool
    rule: str = ""  #: the key that decided; "" where none had anything against it
    fact: str = ""  #: what it looked at, and where that comes from
    until: float | None = None  #: seconds since the epoch; None where time changes nothing


class Facts:
    """What is known of one file; read when a check asks for it."""

    def __init__(self, project: str, file: File, metadata: Metadata | None = None) -> None:
        self.project = project
        self.file = file
        self.metadata = metadata  #: of its release, as far as it was read

    @cached_property
    def version(self) -> Version | None:
        """The version that the file name states."""
        return version_of(self.file.filename, self.project)

    @cached_property
    def version_text(self) -> str | None:
        """The same as written."""
        return version_text(self.file.filename, self.project)

    @cached_property
    def uploaded(self) -> float | None:
        """When it was uploaded, as the upstream says; seconds since the epoch."""
        try:
            moment = datetime.fromisoformat(self.file.upload_time or "")
        except ValueError:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()

    @cached_property
    def type(self) -> str:
        """One of `keys.FileType`."""
        name = self.file.filename.lower()
        if name.endswith(".whl"):
            return "wheel"
        return "sdist" if name.endswith(_SDISTS) else "other"

    @property
    def tag(self) -> str:
        """A wheel's tags, compressed as in its name."""
        return "-".join(self.file.filename[: -len(".whl")].rsplit("-", 3)[1:])


#: What an sdist's name ends with; the name of a platform before that makes it a dumb binary, which
#: few ever made and nobody can tell for certain.
_SDISTS = (
    ".tar.gz",
    ".zip",
    ".tgz",
    ".tar.bz2",
    ".tbz",
    ".tbz2",
    ".tar.xz",
    ".txz",
    ".tar",
    ".tar.zst",
)

#: A check: whether the file passes, the fact, and when that changes.
Outcome = tuple[bool, str, float | None]
Check = Callable[[Facts, float], Outcome]


class Rules:
    """The checks of some keys, for the projects that these hold for.

    `source` says, by key, where in the configuration it stands. Raises `EntryError` and
    `EnvironmentKeyError`.
    """

    def __init__(self, keys: RuleKeys, source: dict[str, str]) -> None:
        self._keys = keys
        self._source = source
        self._checks: list[tuple[str, Check]] = [
            (rule, make(keys, rule))
            for names, make in _CHECKS
            if (rule := ", ".join(source[name] for name in names if _is_set(keys, name)))
        ]
        of_metadata = {source["metadata"], source["exclude_metadata"]}
        if keys.at_least:
            of_metadata.add(source["younger_than"])
        self._plain = [(rule, check) for rule, check in self._checks if rule not in of_metadata]

    @cached_property
    def fields(self) -> frozenset[str]:
        """The fields of core metadata that decide."""
        return frozenset({*self._keys.metadata, *self._keys.exclude_metadata})

    def may_pass(self, facts: Facts, now: float) -> bool:
        """Whether nothing but its core metadata can keep a file out, or the other files."""
        return all(check(facts, now)[0] for _, check in self._plain)

    @cached_property
    def count(self) -> bool:
        """Whether it matters to a file what else its project has."""
        keys = self._keys
        return bool(keys.at_least or keys.latest or keys.max_versions or keys.max_project_size)

    @cached_property
    def is_empty(self) -> bool:
        """Whether every file passes."""
        return not (self._checks or self.count)

    def decide(self, files: Sequence[Facts], now: float) -> list[Verdict]:
        """Decide on the files of one project; `now` is in seconds since the epoch."""
        verdicts = [self._one(facts, now) for facts in files]
        if self._keys.at_least and self._keys.younger_than:
            self._keep_some(files, verdicts, now)
        for name, whole in (
            ("latest", _latest),
            ("max_versions", _max_versions),
            ("max_project_size", _max_project_size),
        ):
            left = [facts for facts, v in zip(files, verdicts, strict=True) if v.selected]
            refused, fact = whole(self._keys, left)
            if refused:
                verdicts = [
                    Verdict(False, self._source[name], fact, v.until)
                    if v.selected and facts.file.filename in refused
                    else v
                    for facts, v in zip(files, verdicts, strict=True)
                ]
        return verdicts

    def _keep_some(self, files: Sequence[Facts], verdicts: list[Verdict], now: float) -> None:
        """Let in the youngest of the releases that are too old, up to the number of `at_least`."""
        rule = self._source["younger_than"]
        left = _releases([f for f, v in zip(files, verdicts, strict=True) if v.selected])
        old: dict[Version | str, float] = {}  # when the last file of a release was uploaded
        fits: dict[str, Verdict] = {}
        for facts, verdict in zip(files, verdicts, strict=True):
            release = _release_of(facts)
            if verdict.rule == rule and facts.uploaded is not None and release not in left:
                otherwise = self._one(facts, now, without=rule)
                if otherwise.selected:
                    fits[facts.file.filename] = otherwise
                    old[release] = max(facts.uploaded, old.get(release, facts.uploaded))
        youngest = sorted(old, key=lambda release: (old[release], _by_version(release)))
        number = max(0, self._keys.at_least - len(left))
        kept = set(youngest[-number:] if number else ())
        for position, facts in enumerate(files):
            if facts.file.filename in fits and _release_of(facts) in kept:
                until = fits[facts.file.filename].until
                fact = f"{_upload_fact(facts)}, and among the youngest that are too old"
                verdicts[position] = Verdict(True, self._source["at_least"], fact, until)

    def _one(self, facts: Facts, now: float, without: str = "") -> Verdict:
        until: float | None = None
        for rule, check in self._checks:
            if rule == without:
                continue
            passes, fact, change = check(facts, now)
            if not passes:
                return Verdict(False, rule, fact, change)
            if change is not None:
                until = change if until is None else min(until, change)
        return Verdict(True, until=until)


# One file: each makes the check of a key that is set


def _file_names(keys: RuleKeys, source: str) -> Check:
    globs = [pattern(text, source) for text in keys.files]
    return lambda facts, _: (_any(globs, facts.file.filename), "file name", None)


def _excluded_file_names(keys: RuleKeys, source: str) -> Check:
    globs = [pattern(text, source) for text in keys.exclude_files]
    return lambda facts, _: (not _any(globs, facts.file.filename), "file name", None)


def _versions(keys: RuleKeys, source: str) -> Check:
    matchers = [_version_matcher(text, source) for text in keys.versions]
    return lambda facts, _: (any(m(facts) for m in matchers), _version_fact(facts), None)


def _excluded_versions(keys: RuleKeys, source: str) -> Check:
    matchers = [_version_matcher(text, source) for text in keys.exclude_versions]
    return lambda facts, _: (not any(m(facts) for m in matchers), _version_fact(facts), None)


def _types(keys: RuleKeys, _source: str) -> Check:
    return lambda facts, _: (facts.type in keys.types, f"{facts.type}, by file name", None)


def _tags(keys: RuleKeys, _source: str) -> Check:
    environments = Environments(keys.python, keys.platforms, keys.abi)

    def check(facts: Facts, _now: float) -> Outcome:
        if facts.type != "wheel":
            return True, "no wheel", None
        return environments.install(facts.tag), f"tags {facts.tag}, by file name", None

    return check


def _requires_python(keys: RuleKeys, _source: str) -> Check:
    environments = Environments(keys.python)

    def check(facts: Facts, _now: float) -> Outcome:
        needed = facts.file.requires_python or ""
        return environments.admit(needed), f"requires-python {needed}, by the upstream", None

    return check


def _prereleases(_keys: RuleKeys, _source: str) -> Check:
    def check(facts: Facts, _now: float) -> Outcome:
        is_final = facts.version is None or not facts.version.is_prerelease
        return is_final, _version_fact(facts), None

    return check


def _yanked(_keys: RuleKeys, _source: str) -> Check:
    return lambda facts, _: (facts.file.yanked is None, _yank_fact(facts), None)


def _uploaded_after(keys: RuleKeys, _source: str) -> Check:
    assert keys.uploaded_after is not None
    first = keys.uploaded_after.timestamp()
    return lambda facts, _: ((facts.uploaded or -inf) >= first, _upload_fact(facts), None)


def _uploaded_before(keys: RuleKeys, _source: str) -> Check:
    assert keys.uploaded_before is not None
    end = keys.uploaded_before.timestamp()
    return lambda facts, _: ((facts.uploaded or inf) < end, _upload_fact(facts), None)


def _older_than(keys: RuleKeys, _source: str) -> Check:
    assert keys.older_than is not None
    age = keys.older_than.total_seconds()

    def check(facts: Facts, now: float) -> Outcome:
        if facts.uploaded is None:
            return False, _upload_fact(facts), None
        due = facts.uploaded + age
        return now >= due, _upload_fact(facts), None if now >= due else due

    return check


def _younger_than(keys: RuleKeys, _source: str) -> Check:
    assert keys.younger_than is not None
    age = keys.younger_than.total_seconds()

    def check(facts: Facts, now: float) -> Outcome:
        if facts.uploaded is None:
            return False, _upload_fact(facts), None
        end = facts.uploaded + age
        return now < end, _upload_fact(facts), end if now < end else None

    return check


def _max_file_size(keys: RuleKeys, _source: str) -> Check:
    assert keys.max_file_size is not None
    limit = int(keys.max_file_size)
    return lambda facts, _: (
        (facts.file.size or 0) <= limit, f"{facts.file.size} bytes, by the upstream", None
    )  # fmt: skip


def _metadata(keys: RuleKeys, source: str) -> Check:
    fits = metadata.required(keys.metadata, source)
    return lambda facts, _: (*fits(facts.metadata), None)


def _excluded_metadata(keys: RuleKeys, source: str) -> Check:
    fits = metadata.excluded(keys.exclude_metadata, source)
    return lambda facts, _: (*fits(facts.metadata), None)


_CHECKS: tuple[tuple[tuple[str, ...], Callable[[RuleKeys, str], Check]], ...] = (
    (("files",), _file_names),
    (("exclude_files",), _excluded_file_names),
    (("versions",), _versions),
    (("exclude_versions",), _excluded_versions),
    (("types",), _types),
    (("python", "platforms", "abi"), _tags),
    (("python",), _requires_python),
    (("prereleases",), _prereleases),
    (("yanked",), _yanked),
    (("uploaded_after",), _uploaded_after),
    (("uploaded_before",), _uploaded_before),
    (("older_than",), _older_than),
    (("younger_than",), _younger_than),
    (("max_file_size",), _max_file_size),
    (("metadata",), _metadata),
    (("exclude_metadata",), _excluded_metadata),
)


# All files that are left


def _latest(keys: RuleKeys, files: Sequence[Facts]) -> tuple[set[str], str]:
    releases = _releases(files) if keys.latest else {}
    if len(releases) <= keys.latest:
        return set(), ""
    newest = sorted(releases, key=_by_version, reverse=True)
    if keys.latest_by == "time":
        newest.sort(key=lambda name: _first_upload(releases[name]), reverse=True)
    dropped = newest[keys.latest :]
    return (
        {facts.file.filename for name in dropped for facts in releases[name]},
        f"not among the newest {keys.latest} of {len(releases)} releases, by {keys.latest_by}",
    )


def _max_versions(keys: RuleKeys, files: Sequence[Facts]) -> tuple[set[str], str]:
    number = len(_releases(files)) if keys.max_versions else 0
    if number <= keys.max_versions:
        return set(), ""
    return {facts.file.filename for facts in files}, f"the project has {number} releases"


def _max_project_size(keys: RuleKeys, files: Sequence[Facts]) -> tuple[set[str], str]:
    size = sum(facts.file.size or 0 for facts in files)
    if not keys.max_project_size or size <= keys.max_project_size:
        return set(), ""
    return {facts.file.filename for facts in files}, f"the project has {size} bytes"


def _releases(files: Sequence[Facts]) -> dict[Version | str, list[Facts]]:
    """Group files by version; those without one that can be read, by what stands there."""
    found: dict[Version | str, list[Facts]] = {}
    for facts in files:
        found.setdefault(_release_of(facts), []).append(facts)
    return found


def _release_of(facts: Facts) -> Version | str:
    return facts.version or facts.version_text or ""


def _by_version(release: Version | str) -> tuple[bool, Any]:
    return (isinstance(release, Version), release)


def _first_upload(files: Iterable[Facts]) -> float:
    return min((f.uploaded for f in files if f.uploaded is not None), default=0.0)


# Facts and patterns


def _is_set(keys: RuleKeys, name: str) -> bool:
    """Whether a key limits anything; a limit of 0 is none, so that a rule can lift one."""
    value = getattr(keys, name)
    return value != RuleKeys.model_fields[name].default and (isinstance(value, bool) or bool(value))


def _version_matcher(text: str, source: str) -> Callable[[Facts], bool]:
    """Read one entry of `versions`: a specifier, a glob or a regular expression."""
    try:
        specifier = SpecifierSet(text)
    except InvalidSpecifier:
        glob = pattern(text, source)
        # As it is written, and as it is normalised: "1.0.alpha1" is "1.0a1" too.
        return lambda facts: any(
            glob.search(str(version))
            for version in (facts.version_text, facts.version)
            if version is not None
        )
    return lambda facts: (
        facts.version is not None and specifier.contains(facts.version, prereleases=True)
    )


def _any(globs: Iterable[re.Pattern[str]], text: str) -> bool:
    return any(glob.search(text) for glob in globs)


def _version_fact(facts: Facts) -> str:
    stated = facts.version or facts.version_text
    return f"version {stated}, by file name" if stated else "no version in the file name"


def _upload_fact(facts: Facts) -> str:
    if facts.uploaded is None:
        return "no upload time from the upstream"
    return f"uploaded {facts.file.upload_time}, by the upstream"


def _yank_fact(facts: Facts) -> str:
    reason = facts.file.yanked
    return (
        "not yanked"
        if reason is None
        else f"yanked: {reason or 'no reason given'}, by the upstream"
    )
