"""Which projects and files are mirrored: the decisions of a configuration's `[select]`.

A project is selected when an entry of `projects` names it (or there is none) and no entry of
`exclude` that is about whole projects does. A file is selected when its project is, when it is
one that an entry asks for and none excludes, and when it passes the rules (`select.rules`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from pypimirror.config.selecting import RuleKeys, SelectSection
from pypimirror.config.settings import Config, ConfigError
from pypimirror.domain.model import File, ProjectName
from pypimirror.select import entries
from pypimirror.select.entries import Entry
from pypimirror.select.environments import EnvironmentKeyError, Environments
from pypimirror.select.facts import Facts, Verdict
from pypimirror.select.metadata import Metadata
from pypimirror.select.patterns import EntryError
from pypimirror.select.rules import Rules

_SELECTED = Verdict(True)
_UNKNOWN: Mapping[str, Metadata] = MappingProxyType({})


@dataclass(frozen=True)
class Choice:
    """Which files of a project are mirrored, in the order of its files."""

    selected: list[bool]
    until: float | None = None  #: when time alone will change that; seconds since the epoch


class Selection:
    """The decisions of a configuration's `[select]` section.

    Raises `ConfigError` where the section, or a file that it names, cannot be read.
    """

    def __init__(self, config: Config) -> None:
        select = config.select
        self._select = select
        self._rules: dict[tuple[int, ...], Rules] = {}
        try:
            environments = Environments(select.python, select.platforms, select.abi)
            self._projects = entries.read(select.projects, "select.projects", environments)
            self._exclude = entries.read(select.exclude, "select.exclude", environments)
            self._linked = entries.read(select.metadata_only, "select.metadata_only", environments)
            self._reserved = [
                entries.read(upstream.reserved, f"upstream {upstream.name}.reserved", environments)
                for upstream in config.upstream
            ]
            self._everyone = list(range(len(config.upstream)))
            self._matches = [
                entries.read(rule.projects, f"select.rules[{number}].projects", environments)
                for number, rule in enumerate(select.rules)
            ]
            for number in range(len(select.rules)):
                self._rules_for((number,))  # for its faults
            self._rules_for(())
        except EntryError as error:
            raise ConfigError(config.blame(f"{error}")) from error
        except EnvironmentKeyError as error:
            raise ConfigError(config.blame(f"select.{error}")) from error
        if select.projects and not self._projects:
            # None at all would mean every project; and to select nothing would drop the mirror.
            raise ConfigError(
                config.blame(
                    f"select.projects: {', '.join(select.projects)}: names no project. Write names "
                    "into it, or leave select.projects empty to mirror every project"
                )
            )
        for entry in self._linked:
            is_ours = entry.source == "select.metadata_only"  # not of a list with other purposes
            if is_ours and entry.name and not self.project(entry.name):
                raise ConfigError(
                    config.blame(
                        f"select.metadata_only: {entry.text!r} names a project that is not "
                        "selected; name it in select.projects, too"
                    )
                )
        #: Identifies what is selected from where: a page that was read otherwise is read again.
        self.digest = self._identify(config)

    @cached_property
    def needs_list(self) -> bool:
        """Whether only the upstream's whole list can tell which projects are meant."""
        return not self._projects or any(entry.pattern for entry in self._projects)

    @property
    def globs(self) -> list[Entry]:
        """The entries of `projects` that are globs or regular expressions."""
        return [entry for entry in self._projects if entry.pattern is not None]

    @cached_property
    def named(self) -> tuple[ProjectName, ...]:
        """The projects that are named one by one and not excluded, in the order of `projects`."""
        names = dict.fromkeys(entry.name for entry in self._projects if entry.name is not None)
        return tuple(name for name in names if self.project(name))

    def project(self, project: ProjectName) -> bool:
        """Whether anything of `project` is mirrored."""
        if self._projects and not any(entry.names(project) for entry in self._projects):
            return False
        return not any(entry.is_whole for entry in entries.about(self._exclude, project))

    def explain_project(self, project: ProjectName) -> Verdict:
        """Say whether anything of `project` is mirrored, and why."""
        wanted = next((e for e in self._projects if e.names(project)), None)
        if self._projects and wanted is None:
            return Verdict(False, "select.projects", "no entry names the project")
        for entry in entries.about(self._exclude, project):
            if entry.is_whole:
                return Verdict(False, entry.source, f"{entry.text!r} names the project")
        if wanted is None:
            return Verdict(True, "select.projects", "is empty: every project is meant")
        return Verdict(True, wanted.source, f"{wanted.text!r} names the project")

    def owners(self, project: ProjectName) -> list[int]:
        """Return the positions of the upstreams that may own a project, in their order."""
        reserving = [
            position
            for position, reserved in enumerate(self._reserved)
            if any(entry.names(project) for entry in reserved)
        ]
        return reserving or self._everyone

    def fields(self, project: ProjectName) -> frozenset[str]:
        """Return the fields of core metadata that decide on files of a project: mostly none."""
        return self._rules_of(project).fields

    def counts(self, project: ProjectName) -> bool:
        """Whether it matters to a file of a project what else that has."""
        return self._rules_of(project).count

    def may_pass(self, project: ProjectName, files: Sequence[File], now: float) -> list[bool]:
        """Return which files nothing but core metadata keeps out, or other files."""
        rules = self._rules_of(project)
        return [rules.may_pass(Facts(project, file), now) for file in files]

    def choose(
        self,
        project: ProjectName,
        files: Sequence[File],
        now: float,
        metadata: Mapping[str, Metadata] = _UNKNOWN,
    ) -> Choice:
        """Decide which files of `project`, which itself is selected, are mirrored now.

        `metadata` holds that of files by their names, as far as `fields` asks for any.
        """
        if self._takes_all(project):
            return Choice([True] * len(files))
        verdicts = self.explain(project, files, now, metadata)
        changes = (verdict.until for verdict in verdicts if verdict.until is not None)
        return Choice([verdict.selected for verdict in verdicts], min(changes, default=None))

    def unmet(self, project: ProjectName, files: Sequence[File]) -> list[str]:
        """Return the entries that ask for some releases of a project, and find none here."""
        asked = [e for e in self._projects if e.name == project and not e.is_whole]
        facts = [Facts(project, file) for file in files] if asked else []
        return [e.text for e in asked if not any(_matches(e, each) for each in facts)]

    def explain(
        self,
        project: ProjectName,
        files: Sequence[File],
        now: float,
        metadata: Mapping[str, Metadata] = _UNKNOWN,
    ) -> list[Verdict]:
        """Say of each file whether it is mirrored, by which rule, until when."""
        wanted = [e for e in self._projects if e.names(project)]
        if any(entry.is_whole for entry in wanted):
            wanted = []  # one that means every file, whatever the others say
        refused = [e for e in entries.about(self._exclude, project) if not e.is_whole]
        facts = [Facts(project, file, metadata.get(file.filename)) for file in files]
        verdicts = [_asked_for(each, wanted, refused) for each in facts]
        left = [each for each, v in zip(facts, verdicts, strict=True) if v.selected]
        ruled = iter(self._rules_of(project).decide(left, now))
        return [next(ruled) if verdict.selected else verdict for verdict in verdicts]

    def linked(self, project: ProjectName, files: Sequence[File]) -> list[Verdict | None]:
        """Say of each file of `project` whether pages only lead to it at the upstream, and why.

        None for one that is held here, where it is selected.
        """
        number = next((n for n in reversed(self._numbers(project)) if self._decides(n)), None)
        if number is not None:
            fact = f"the rule for {', '.join(self._select.rules[number].projects)}"
            verdict = Verdict(True, f"select.rules[{number}].metadata_only", fact)
            is_linked = self._select.rules[number].metadata_only
            return [verdict if is_linked else None] * len(files)
        about = [entry for entry in self._linked if entry.names(project)]
        if not about:
            return [None] * len(files)
        return [_leads_away(Facts(project, file), about) for file in files]

    def _decides(self, number: int) -> bool:
        """Whether one of `[[select.rules]]` says if only pages are mirrored."""
        return self._select.rules[number].metadata_only is not None

    def _takes_all(self, project: ProjectName) -> bool:
        """Whether a project's files need no looking at: most projects of most mirrors."""
        if not self._rules_of(project).is_empty:
            return False
        if any(not entry.is_whole for entry in entries.about(self._exclude, project)):
            return False
        wanted = [e for e in self._projects if e.names(project)]
        return not wanted or any(entry.is_whole for entry in wanted)

    def _rules_of(self, project: ProjectName) -> Rules:
        return self._rules_for(self._numbers(project))

    def _numbers(self, project: ProjectName) -> tuple[int, ...]:
        """Return which of `[[select.rules]]` are about a project, in their order."""
        return tuple(
            number
            for number, matches in enumerate(self._matches)
            if any(entry.names(project) for entry in matches)
        )

    def _rules_for(self, numbers: tuple[int, ...]) -> Rules:
        """Return the rules that hold where these of `[[select.rules]]` apply, in their order."""
        if numbers not in self._rules:
            self._rules[numbers] = Rules(*_overlaid(self._select, numbers))
        return self._rules[numbers]

    def _identify(self, config: Config) -> str:
        upstreams = [
            (u.name, u.url, u.kind, u.follow_external, u.newest, u.max_links, u.reserved)
            for u in config.upstream
        ]
        read = [
            (e.text, sorted(e.hashes)) for e in (*self._projects, *self._exclude, *self._linked)
        ]  # what is in the files that are named
        # Whether a page may lead somewhere hangs on the hosts that may be asked.
        leads_away = self._linked or any(rule.metadata_only for rule in config.select.rules)
        hosts = [upstream.hosts for upstream in config.upstream] if leads_away else []
        keys = config.select.model_dump(mode="json")
        del keys["check"]  # it decides on no file
        told = [upstreams, keys, read, hosts]
        text = json.dumps(told, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _overlaid(select: SelectSection, numbers: tuple[int, ...]) -> tuple[RuleKeys, dict[str, str]]:
    """Return the keys that hold, each with the place in the configuration that has it."""
    values = {name: getattr(select, name) for name in RuleKeys.model_fields}
    source = {name: f"select.{name}" for name in RuleKeys.model_fields}
    for number in numbers:
        rule = select.rules[number]
        for name in rule.model_fields_set & values.keys():
            values[name] = getattr(rule, name)
            source[name] = f"select.rules[{number}].{name}"
    return RuleKeys.model_construct(**values), source


def _asked_for(facts: Facts, wanted: Sequence[Entry], refused: Sequence[Entry]) -> Verdict:
    """Hold a file against the entries that are about some files of its project."""
    if wanted and not any(_matches(entry, facts) for entry in wanted):
        return Verdict(False, wanted[0].source, _why_not(wanted, facts))
    for entry in refused:
        if _matches(entry, facts):
            return Verdict(False, entry.source, _named(entry, facts))
    return _SELECTED


def _why_not(wanted: Sequence[Entry], facts: Facts) -> str:
    """Say what keeps a file from being one that the entries ask for."""
    texts = ", ".join(entry.text for entry in wanted)
    if not any(_is_of_version(entry, facts) for entry in wanted):
        if facts.version is None:
            return f"its name tells no version, and what is asked for is {texts}"
        return f"version {facts.version} is none of {texts}"
    asked = {pair for e in wanted if _is_of_version(e, facts) for pair in e.hashes}
    told = ", ".join(
        f"{a} {d}" for a, d in sorted(facts.file.digests.items()) if (a, d) not in asked
    )
    return f"none of the digests that are asked for of {texts} is its own ({told}, by the upstream)"


def _named(entry: Entry, facts: Facts) -> str:
    """Say by what an entry is about a file."""
    what = "the project" if entry.is_whole else "its digest"
    return f"{entry.text!r} names {what if entry.versions is None else f'version {facts.version}'}"


def _leads_away(facts: Facts, about: Sequence[Entry]) -> Verdict | None:
    """Hold a file against the entries of `metadata_only` that are about its project."""
    for entry in about:
        if _matches(entry, facts):
            return Verdict(True, entry.source, _named(entry, facts))
    return None


def _matches(entry: Entry, facts: Facts) -> bool:
    """Whether an entry asks for a file."""
    if not _is_of_version(entry, facts):
        return False
    # Which bytes are meant can be told where the upstream names a digest of the same algorithm.
    algorithms = {algorithm for algorithm, _ in entry.hashes}
    digests = {pair for pair in facts.file.digests.items() if pair[0] in algorithms}
    return not digests or not digests.isdisjoint(entry.hashes)


def _is_of_version(entry: Entry, facts: Facts) -> bool:
    """Whether a file is of a version that an entry asks for; one without meets no requirement."""
    if entry.versions is None:
        return True
    # A mirror keeps what any client may ask for, so pre-releases fit by number alone.
    return facts.version is not None and entry.versions.contains(facts.version, prereleases=True)
