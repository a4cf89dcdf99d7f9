"""The rules on files: each key in the configuration is one check, and all checks decide.

Checks look at one file at a time, in the order of `_CHECKS`. The first check that refuses a file
gives the reason. Then other rules look at all files that passed (`at_least`, and `select.whole`).
If time alone will change a decision, the verdict says when. No I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from math import inf

from packaging.version import Version

from pypimirror.config.selecting import RuleKeys
from pypimirror.select import metadata
from pypimirror.select.environments import EnvironmentKeyError, Environments
from pypimirror.select.facts import Facts, Verdict
from pypimirror.select.patterns import EntryError, Pattern, pattern
from pypimirror.select.whole import WHOLE, by_version, releases_of

#: A check returns whether the file passes, the fact, and when time will change that.
RuleOutcome = tuple[bool, str, float | None]
RuleCheck = Callable[[Facts, float], RuleOutcome]


class Rules:
    """The checks of some keys, for the projects to which they apply.

    `source` has the place in the configuration for each key. Raises `EntryError`.
    """

    def __init__(self, keys: RuleKeys, source: dict[str, str]) -> None:
        self._keys = keys
        self._source = source
        try:
            self._checks: list[tuple[str, RuleCheck]] = [
                (rule, make(keys, rule))
                for names, make in _CHECKS
                if (rule := ", ".join(source[name] for name in names if _is_set(keys, name)))
            ]
        except EnvironmentKeyError as error:
            raise EntryError(f"{source[error.key]}: {error.said}") from error
        of_metadata = {source["metadata"], source["exclude_metadata"]}
        if keys.at_least:
            of_metadata.add(source["younger_than"])
        self._plain = [(rule, check) for rule, check in self._checks if rule not in of_metadata]

    def __reduce__(self) -> tuple[type[Rules], tuple[RuleKeys, dict[str, str]]]:
        """Let another process make the same checks again: functions cannot be sent there."""
        return Rules, (self._keys, self._source)

    @cached_property
    def fields(self) -> frozenset[str]:
        """The fields of core metadata that decide."""
        return frozenset({*self._keys.metadata, *self._keys.exclude_metadata})

    def may_pass(self, facts: Facts, now: float) -> bool:
        """Whether only core metadata, or the project's other files, can still keep a file out."""
        return all(check(facts, now)[0] for _, check in self._plain)

    @cached_property
    def count(self) -> bool:
        """Whether the project's other files matter for a file."""
        keys = self._keys
        return bool(keys.at_least or any(getattr(keys, name) for name, _ in WHOLE))

    @cached_property
    def is_empty(self) -> bool:
        """Whether every file passes."""
        return not (self._checks or self.count)

    def decide(self, files: Sequence[Facts], now: float) -> list[Verdict]:
        """Decide on the files of one project; `now` is in seconds since the epoch."""
        verdicts = [self._one(facts, now) for facts in files]
        if self._keys.at_least and self._keys.younger_than:
            self._keep_some(files, verdicts, now)
        for name, whole in WHOLE:
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
        """Include the youngest of the releases that are too old, up to the number of `at_least`."""
        rule = self._source["younger_than"]
        left = releases_of([f for f, v in zip(files, verdicts, strict=True) if v.selected])
        old: dict[Version | str, float] = {}  # when the last file of a release was uploaded
        fits: dict[str, Verdict] = {}
        for facts, verdict in zip(files, verdicts, strict=True):
            release = facts.release
            if verdict.rule == rule and facts.uploaded is not None and release not in left:
                otherwise = self._one(facts, now, without=rule)
                if otherwise.selected:
                    fits[facts.file.filename] = otherwise
                    old[release] = max(facts.uploaded, old.get(release, facts.uploaded))
        youngest = sorted(old, key=lambda release: (old[release], by_version(release)))
        number = max(0, self._keys.at_least - len(left))
        kept = set(youngest[-number:] if number else ())
        for position, facts in enumerate(files):
            if facts.file.filename in fits and facts.release in kept:
                until = fits[facts.file.filename].until
                fact = f"{facts.upload}, and among the youngest that are too old"
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


# One file: each function makes the check of a key


def _file_names(keys: RuleKeys, source: str) -> RuleCheck:
    globs = [pattern(text, source) for text in keys.files]
    return lambda facts, _: (_any(globs, facts.file.filename), "file name", None)


def _excluded_file_names(keys: RuleKeys, source: str) -> RuleCheck:
    globs = [pattern(text, source) for text in keys.exclude_files]
    return lambda facts, _: (not _any(globs, facts.file.filename), "file name", None)


def _versions(keys: RuleKeys, source: str) -> RuleCheck:
    matchers = [_version_matcher(text, source) for text in keys.versions]
    return lambda facts, _: (any(m(facts) for m in matchers), _version_fact(facts), None)


def _excluded_versions(keys: RuleKeys, source: str) -> RuleCheck:
    matchers = [_version_matcher(text, source) for text in keys.exclude_versions]
    return lambda facts, _: (not any(m(facts) for m in matchers), _version_fact(facts), None)


def _types(keys: RuleKeys, _source: str) -> RuleCheck:
    return lambda facts, _: (facts.type in keys.types, f"{facts.type}, by file name", None)


def _tags(keys: RuleKeys, _source: str) -> RuleCheck:
    environments = Environments(keys.python, keys.platforms, keys.abi)

    def check(facts: Facts, _now: float) -> RuleOutcome:
        if facts.type != "wheel":
            return True, "no wheel", None
        return environments.install(facts.tag), f"tags {facts.tag}, by file name", None

    return check


def _requires_python(keys: RuleKeys, _source: str) -> RuleCheck:
    environments = Environments(keys.python)

    def check(facts: Facts, _now: float) -> RuleOutcome:
        needed = facts.file.requires_python or ""
        return environments.admit(needed), f"requires-python {needed}, by the upstream", None

    return check


def _prereleases(_keys: RuleKeys, _source: str) -> RuleCheck:
    def check(facts: Facts, _now: float) -> RuleOutcome:
        is_final = facts.version is None or not facts.version.is_prerelease
        return is_final, _version_fact(facts), None

    return check


def _yanked(_keys: RuleKeys, _source: str) -> RuleCheck:
    return lambda facts, _: (facts.file.yanked is None, _yank_fact(facts), None)


def _uploaded_after(keys: RuleKeys, _source: str) -> RuleCheck:
    assert keys.uploaded_after is not None
    first = keys.uploaded_after.timestamp()
    return lambda facts, _: ((facts.uploaded or -inf) >= first, facts.upload, None)


def _uploaded_before(keys: RuleKeys, _source: str) -> RuleCheck:
    assert keys.uploaded_before is not None
    end = keys.uploaded_before.timestamp()
    return lambda facts, _: ((facts.uploaded or inf) < end, facts.upload, None)


def _older_than(keys: RuleKeys, _source: str) -> RuleCheck:
    assert keys.older_than is not None
    age = keys.older_than.total_seconds()

    def check(facts: Facts, now: float) -> RuleOutcome:
        if facts.uploaded is None:
            return False, facts.upload, None
        due = facts.uploaded + age
        return now >= due, facts.upload, None if now >= due else due

    return check


def _younger_than(keys: RuleKeys, _source: str) -> RuleCheck:
    assert keys.younger_than is not None
    age = keys.younger_than.total_seconds()

    def check(facts: Facts, now: float) -> RuleOutcome:
        if facts.uploaded is None:
            return False, facts.upload, None
        end = facts.uploaded + age
        return now < end, facts.upload, end if now < end else None

    return check


def _max_file_size(keys: RuleKeys, _source: str) -> RuleCheck:
    assert keys.max_file_size is not None
    limit = int(keys.max_file_size)
    return lambda facts, _: (
        (facts.file.size or 0) <= limit, f"{facts.file.size} bytes, by the upstream", None
    )  # fmt: skip


def _metadata(keys: RuleKeys, source: str) -> RuleCheck:
    fits = metadata.required(keys.metadata, source)
    return lambda facts, _: (*fits(facts.metadata), None)


def _excluded_metadata(keys: RuleKeys, source: str) -> RuleCheck:
    fits = metadata.excluded(keys.exclude_metadata, source)
    return lambda facts, _: (*fits(facts.metadata), None)


_CHECKS: tuple[tuple[tuple[str, ...], Callable[[RuleKeys, str], RuleCheck]], ...] = (
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


# Facts and patterns


def _is_set(keys: RuleKeys, name: str) -> bool:
    """Whether a key limits anything; 0 is no limit, so that a rule can lift one."""
    value = getattr(keys, name)
    return value != RuleKeys.model_fields[name].default and (isinstance(value, bool) or bool(value))


def _version_matcher(text: str, source: str) -> Callable[[Facts], bool]:
    """Read one entry of `versions`: a specifier, a glob or a regular expression."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # slow to import

    try:
        specifier = SpecifierSet(text)
    except InvalidSpecifier:
        glob = pattern(text, source)
        # As written and as normalised: "1.0.alpha1" is also "1.0a1".
        return lambda facts: any(
            glob.search(str(version))
            for version in (facts.version_text, facts.version)
            if version is not None
        )
    return lambda facts: (
        facts.version is not None and specifier.contains(facts.version, prereleases=True)
    )


def _any(globs: Iterable[Pattern], text: str) -> bool:
    return any(glob.search(text) for glob in globs)


def _version_fact(facts: Facts) -> str:
    stated = facts.version or facts.version_text
    return f"version {stated}, by file name" if stated else "no version in the file name"


def _yank_fact(facts: Facts) -> str:
    reason = facts.file.yanked
    return (
        "not yanked"
        if reason is None
        else f"yanked: {reason or 'no reason given'}, by the upstream"
    )
