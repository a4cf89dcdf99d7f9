"""Decides which projects and files are mirrored, by `[select]` of the configuration.

A project is selected if an entry of `projects` names it, or nothing is named, and no entry of
`exclude` excludes the whole project. A file is selected if its project is selected, an entry asks
for the file, no entry excludes it, and it passes the rules (`select.rules`).

With `[on_demand]`, naming nothing selects nothing. The files that clients have asked for are then
selected by name (`Selection.with_asked`), and `policy` decides which files they may ask for.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from operator import itemgetter
from types import MappingProxyType

from msgspec import Struct

from pypimirror.config.selecting import RuleKeys, SelectSection
from pypimirror.config.settings import Config, ConfigError
from pypimirror.domain.model import Claim, File, ProjectName
from pypimirror.select import entries, naming
from pypimirror.select.closure.root import Root
from pypimirror.select.entries import Entry
from pypimirror.select.facts import Facts, Verdict
from pypimirror.select.matching import Unmet, asked_for, leads_away, matches, unmet_by
from pypimirror.select.metadata import Metadata
from pypimirror.select.rules import Rules

#: Releases that one explanation names besides the first.
_MOST = 5
#: Keys that do not decide on files directly. Needed projects are decided on separately.
_OF_NO_FILE = {"check", "dependencies", "build_dependencies", "max_dependencies"}
_UNKNOWN: Mapping[str, Metadata] = MappingProxyType({})


class Choice(Struct, frozen=True):
    """Which files of a project are mirrored, in the order of its files."""

    selected: list[bool]
    until: float | None = None  #: when the choice changes by itself; seconds since the epoch


class Selection:
    """The decisions of a configuration's `[select]` section.

    `resolved` are the texts of the resolved locks, by file name; the default is in the private
    directory. If it is given, notes on requirements files and locks are not logged a second time.
    `key` is the key that `projects` comes from. Raises `ConfigError` if the section, or a file that
    it names, is invalid.
    """

    def __init__(
        self, config: Config, resolved: dict[str, str] | None = None, key: str = "select.projects"
    ) -> None:
        select = config.select
        self.config, self.resolved = config, resolved
        self._key = key
        #: Whether nothing is named, and that means every project.
        self._is_all = config.selects_all
        self._rules: dict[tuple[int, ...], Rules] = {}
        #: By project, the versions that selected releases need; see `needing`.
        self._needed: dict[ProjectName, list[Entry]] = {}
        #: By project, the files that clients have asked for; see `with_asked`.
        self._asked: dict[ProjectName, list[Entry]] = {}
        named = naming.read(config, key, resolved)
        self._projects, self._exclude, self._linked = named.projects, named.exclude, named.linked
        self._reserved, self._matches = named.reserved, named.rules
        self._everyone = list(range(len(config.upstream)))
        with naming.faults(config):
            for number in range(len(select.rules)):
                self._rules_for((number,))  # so that its errors show now
            self._rules_for(())
        self._by_name = naming.by_name(self._projects)
        self._globs = [(n, e) for n, e in enumerate(self._projects) if e.pattern is not None]
        for entry in () if config.on_demand.projects else self._linked:
            is_ours = entry.source == "select.metadata_only"  # not of a list with other purposes
            is_known = not entry.name or self.follows or self.project(entry.name)
            if is_ours and not is_known:
                raise ConfigError(
                    config.blame(
                        f"select.metadata_only: {entry.text!r} names a project that is not "
                        "selected; name it in select.projects, too"
                    )
                )
        #: Identifies the selection and its upstreams. If it changes, all pages are read again.
        self.digest = self._identify(config)

    @cached_property
    def needs_list(self) -> bool:
        """Whether the upstream's list of projects is necessary to find the selected ones."""
        return self._is_all or bool(self._globs)

    @property
    def globs(self) -> list[Entry]:
        """The entries of `projects` that are globs or regular expressions."""
        return [entry for _, entry in self._globs]

    @cached_property
    def named(self) -> tuple[ProjectName, ...]:
        """The projects that have an entry of their own and are not excluded, in order."""
        return tuple(name for name in self._by_name if self.project(name))

    def _naming(self, project: ProjectName) -> list[Entry]:
        """Return the entries of `projects` and `locks` that name a project, in their order."""
        found = [*self._by_name.get(project, ())]
        found += [(n, entry) for n, entry in self._globs if entry.names(project)]
        return [entry for _, entry in sorted(found, key=itemgetter(0))]

    # Needed projects

    @property
    def follows(self) -> bool:
        """Whether requirements are followed. If all projects are selected, there is no need."""
        return self.config.select.dependencies == "all" and bool(self._projects)

    def needing(self, needed: Mapping[str, Iterable[str]], *, more: bool = False) -> Selection:
        """Return a copy of this selection that also has `needed`: version specifiers by project.

        With `more`, other projects stay needed as they are. The digest is the same, so the caller
        must decide again on projects whose needs changed.
        """
        other = copy(self)
        other.__dict__.pop("named", None)
        kept = self._needed if more else {}
        other._needed = kept | {
            ProjectName(name): [entries.needed(ProjectName(name), each) for each in versions]
            for name, versions in needed.items()
        }
        return other

    @property
    def besides(self) -> tuple[ProjectName, ...]:
        """The projects that no entry names, and that are mirrored for others or for clients."""
        wanted = dict.fromkeys((*self._needed, *self._asked))
        return tuple(n for n in wanted if self.is_besides(n) and self.project(n))

    def is_besides(self, project: ProjectName) -> bool:
        """Whether no entry names a project, and others need it, or clients have asked for it."""
        wanted = project in self._needed or project in self._asked
        return wanted and not self._naming(project)

    # Files that clients have asked for

    def with_asked(self, asked: Mapping[str, Iterable[str]]) -> Selection:
        """Return a copy of this selection that also has these files: their names by project.

        The digest is the same, so the caller must decide again on projects whose files changed.
        """
        other = copy(self)
        other.__dict__.pop("named", None)
        other._asked = {
            ProjectName(name): [entries.asked(ProjectName(name), filenames)]
            for name, filenames in asked.items()
        }
        return other

    def is_asked(self, project: ProjectName) -> bool:
        """Whether a project is mirrored only because clients have asked for files of it."""
        return bool(self._asked.get(project)) and not self._selecting(project)

    def selects(self, project: ProjectName, filename: str) -> bool:
        """Whether entries ask for a file also if no client does.

        Rules do not count: they decide on a file that clients asked for in the same way.
        """
        facts = Facts(project, File(filename, ""))
        wanted = self._selecting(project)
        return any(matches(entry, facts) for entry in wanted) or (not wanted and self._is_all)

    def roots(self, projects: Iterable[ProjectName]) -> Iterator[Root]:
        """Yield the versions and extras of these projects that the configuration names."""
        for project in projects:
            for entry in self._naming(project) if self.project(project) else ():
                yield Root(project, str(entry.versions or ""), entry.extras)

    def project(self, project: ProjectName) -> bool:
        """Whether anything of `project` is mirrored."""
        if not self._is_all and not self._wanting(project):
            return False
        return not any(entry.is_whole for entry in entries.about(self._exclude, project))

    def explain_project(self, project: ProjectName) -> Verdict:
        """Say whether anything of `project` is mirrored, and why."""
        wanted = self._wanting(project)
        if not self._is_all and not wanted:
            return Verdict(False, self._key, "no entry names the project")
        for entry in entries.about(self._exclude, project):
            if entry.is_whole:
                return Verdict(False, entry.source, entry.said)
        if not wanted:
            return Verdict(True, "select.projects", "is empty, so every project is selected")
        if self.is_asked(project):
            return Verdict(True, "on_demand.projects", "a client has asked for files of it")
        if self.is_besides(project):
            return Verdict(True, "select.dependencies", "a selected release needs it")
        return Verdict(True, wanted[0].source, _said(self._naming(project)))

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
        """Whether the choice of a file depends on the project's other files."""
        return self._rules_of(project).count

    def may_pass(self, project: ProjectName, files: Sequence[File], now: float) -> list[bool]:
        """Return for each file whether only core metadata or other files can still exclude it."""
        rules = self._rules_of(project)
        return [rules.may_pass(Facts(project, file), now) for file in files]

    def choose(
        self,
        project: ProjectName,
        files: Sequence[File],
        now: float,
        metadata: Mapping[str, Metadata] = _UNKNOWN,
    ) -> Choice:
        """Decide which files of a selected project are mirrored at `now`, in epoch seconds.

        `metadata` has the core metadata by file name, if `fields` names any field.
        """
        if self._takes_all(project):
            return Choice([True] * len(files))
        verdicts = self.explain(project, files, now, metadata)
        changes = (verdict.until for verdict in verdicts if verdict.until is not None)
        return Choice([verdict.selected for verdict in verdicts], min(changes, default=None))

    def claims(self, project: ProjectName) -> dict[str, list[Claim]]:
        """Return the digests that locks claim for a project's files, by file name."""
        found: dict[str, list[Claim]] = defaultdict(list)
        for entry in self._naming(project):
            for file in entry.files:
                if file.filename is not None and file.digests:
                    claim = Claim(entry.source, dict(file.digests), is_lock=True)
                    found[file.filename].append(claim)
        return found

    def unmet(self, project: ProjectName, files: Sequence[File], now: float) -> list[Unmet]:
        """Return the releases and files of a project that entries ask for, but `files` lacks."""
        asked = [e for e in self._naming(project) if e.name is not None and not e.is_whole]
        facts = [Facts(project, file) for file in files] if asked else []
        return [
            each
            for entry in asked
            for each in unmet_by(entry, facts)
            if not each.filename or self._is_wanted(project, each.filename, now)
        ]

    def _is_wanted(self, project: ProjectName, filename: str, now: float) -> bool:
        """Whether neither `exclude` nor a rule on names leaves a file out."""
        facts = Facts(project, File(filename, ""))
        refused = [e for e in entries.about(self._exclude, project) if matches(e, facts)]
        return not refused and self._rules_of(project).may_pass(facts, now)

    def explain(
        self,
        project: ProjectName,
        files: Sequence[File],
        now: float,
        metadata: Mapping[str, Metadata] = _UNKNOWN,
    ) -> list[Verdict]:
        """Return a verdict for each file: whether it is mirrored, by which rule, until when."""
        if self._takes_all(project):
            return [Verdict(True)] * len(files)
        wanted = self._wanting(project)
        if not wanted and not self._is_all:
            return [Verdict(False, self._key, "no entry names the project")] * len(files)
        if any(entry.is_whole for entry in wanted):
            wanted = []  # one entry asks for every file, so the others do not matter
        refused = [e for e in entries.about(self._exclude, project) if not e.is_whole]
        facts = [Facts(project, file, metadata.get(file.filename)) for file in files]
        verdicts = [asked_for(each, wanted, refused) for each in facts]
        left = [each for each, v in zip(facts, verdicts, strict=True) if v.selected]
        ruled = iter(self._rules_of(project).decide(left, now))
        return [next(ruled) if verdict.selected else verdict for verdict in verdicts]

    def linked(self, project: ProjectName, files: Sequence[File]) -> list[Verdict | None]:
        """Return a verdict for each file that pages only link to at the upstream.

        The result is None for a file that is mirrored if it is selected.
        """
        number = next((n for n in reversed(self._numbers(project)) if self._decides(n)), None)
        if number is not None:
            fact = f"the rule for {', '.join(self.config.select.rules[number].projects)}"
            verdict = Verdict(True, f"select.rules[{number}].metadata_only", fact)
            is_linked = self.config.select.rules[number].metadata_only
            return [verdict if is_linked else None] * len(files)
        about = [entry for entry in self._linked if entry.names(project)]
        if not about:
            return [None] * len(files)
        return [leads_away(Facts(project, file), about) for file in files]

    def _decides(self, number: int) -> bool:
        """Whether this one of `[[select.rules]]` sets `metadata_only`."""
        return self.config.select.rules[number].metadata_only is not None

    def _takes_all(self, project: ProjectName) -> bool:
        """Whether all files are selected without a look at each, as in most projects."""
        if not self._rules_of(project).is_empty:
            return False
        if any(not entry.is_whole for entry in entries.about(self._exclude, project)):
            return False
        wanted = self._wanting(project)
        return any(entry.is_whole for entry in wanted) or (not wanted and self._is_all)

    def _wanting(self, project: ProjectName) -> list[Entry]:
        """Return all entries about a project, also those for files that clients asked for."""
        return [*self._selecting(project), *self._asked.get(project, ())]

    def _selecting(self, project: ProjectName) -> list[Entry]:
        """Return the entries that name a project, and those for its needed versions."""
        return [*self._naming(project), *self._needed.get(project, ())]

    def _rules_of(self, project: ProjectName) -> Rules:
        return self._rules_for(self._numbers(project))

    def _numbers(self, project: ProjectName) -> tuple[int, ...]:
        """Return the positions of the `[[select.rules]]` for a project, in order."""
        return tuple(
            number
            for number, matches in enumerate(self._matches)
            if any(entry.names(project) for entry in matches)
        )

    def _rules_for(self, numbers: tuple[int, ...]) -> Rules:
        """Return `[select]` overlaid with these of `[[select.rules]]`, in order."""
        if numbers not in self._rules:
            self._rules[numbers] = Rules(*_overlaid(self.config.select, numbers))
        return self._rules[numbers]

    def _identify(self, config: Config) -> str:
        upstreams = [
            (u.name, u.url, u.kind, u.follow_external, u.newest, u.max_links, u.reserved)
            for u in config.upstream
        ]
        read = [
            (
                e.text,
                sorted(e.hashes),
                sorted((f.filename or "", *sorted(f.digests)) for f in e.files),
            )
            for e in (*self._projects, *self._exclude, *self._linked)
        ]  # includes the contents of the files that entries name
        # Whether a page may link to a URL depends on the allowed hosts.
        leads_away = self._linked or any(rule.metadata_only for rule in config.select.rules)
        hosts = [upstream.hosts for upstream in config.upstream] if leads_away else []
        section = config.select.model_dump(mode="json")
        keys = {name: value for name, value in section.items() if name not in _OF_NO_FILE}
        facts = [upstreams, keys, read, hosts]
        if not (self._is_all or self._projects):
            facts.append("nothing")  # else it would be the digest of everything
        text = json.dumps(facts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _overlaid(select: SelectSection, numbers: tuple[int, ...]) -> tuple[RuleKeys, dict[str, str]]:
    """Return the effective keys, and for each the place in the configuration that sets it."""
    values = {name: getattr(select, name) for name in RuleKeys.model_fields}
    source = {name: f"select.{name}" for name in RuleKeys.model_fields}
    for number in numbers:
        rule = select.rules[number]
        for name in rule.model_fields_set & values.keys():
            values[name] = getattr(rule, name)
            source[name] = f"select.rules[{number}].{name}"
    return RuleKeys.model_construct(**values), source


def _said(wanted: Sequence[Entry]) -> str:
    """Return the text of the entries for a project; locks often name several of its releases."""
    first, *others = wanted
    further = [f"{e.source} {e.said}" for e in others if e.is_locked]
    left = f"; and {len(further) - _MOST} more" if len(further) > _MOST else ""
    return "; ".join([first.said, *further[:_MOST]]) + left


def policy(config: Config) -> Selection:
    """Return the selection that decides what clients may ask for: `[on_demand]` in place of names.

    Raises `ConfigError`.
    """
    names = {"projects": config.on_demand.projects, "locks": (), "dependencies": ""}
    select = config.select.model_copy(update=names)
    found = Selection(config.model_copy(update={"select": select}), key="on_demand.projects")
    found._is_all = False  # without entries, nothing may be asked for
    return found
