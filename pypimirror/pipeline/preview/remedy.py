"""What would bring to the mirror what a check found missing: does an upstream have it, and which
line of the configuration is about it?

Asks for the pages of the missing projects alone. An upstream that is away is asked once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from packaging.version import Version

from pypimirror.config.settings import Config
from pypimirror.domain import bounded
from pypimirror.domain.filenames import version_of
from pypimirror.domain.model import ProjectName
from pypimirror.pipeline.preview import explain
from pypimirror.pipeline.preview.explain import FileExplanation
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.select.facts import Verdict
from pypimirror.select.selection import Selection


@dataclass(frozen=True)
class Wish:
    """Something that is missing."""

    project: ProjectName
    versions: str  #: as specifiers; "" for any
    fits: Callable[[str], bool]  #: whether a file of this name would do
    environment: str  #: for messages
    file: str | None = None  #: the one file that is meant
    is_indirect: bool = False  #: whether a release needs it, and nobody named it


@dataclass(frozen=True)
class Remedy:
    """What can be done about it."""

    upstream: str  #: whether an upstream has it, in a sentence
    line: str | None = None  #: what to change or to run


def find(config: Config, wishes: Iterable[Wish]) -> list[Remedy]:
    """Return a remedy for each wish, in their order; raises `ConfigError`."""
    selection = Selection(config)
    away: str | None = None
    found = []
    with explain.opened(config, selection) as run:
        for wish in wishes:
            if away is None:
                try:
                    found.append(_remedy(run, wish))
                    continue
                except StoppedError as error:
                    away = str(error)
            found.append(Remedy(f"no upstream could be asked: {away}"))
    return found


def _remedy(run: Run, wish: Wish) -> Remedy:
    verdict = run.selection.explain_project(wish.project)
    if verdict.selected:
        held = explain.held_of(run, wish.project)
        found = explain.explained(run, wish.project, verdict, held)
        if found.upstream is None:
            return _nobody(run, wish)
        return _of_selected(wish, found.upstream, found.files)
    owner, page = explain.page_of(run, wish.project)
    if page is None:
        return _nobody(run, wish)
    names = [file.filename for file in page.files]
    newest = _newest(wish, names)
    if newest is None:
        return Remedy(f"{owner} has nothing that fits either")
    return Remedy(f"{owner} has {_what(wish, newest)}", _selecting(run, wish, verdict))


def _nobody(run: Run, wish: Wish) -> Remedy:
    asked = (run.config.upstream[number].name for number in run.selection.owners(wish.project))
    return Remedy(f"no upstream has a project of this name (asked {', '.join(asked)})")


def _selecting(run: Run, wish: Wish, verdict: Verdict) -> str:
    """Return the line that selects a project which is not selected."""
    if verdict.rule != "select.projects":
        return f"take it out of {verdict.rule}: {verdict.fact}"
    entry = f'"{wish.project}{wish.versions}"' if wish.versions else f'"{wish.project}"'
    line = f"[select] projects: add {entry}"
    if wish.is_indirect and not getattr(run.config.select, "dependencies", None):
        return f'[select] dependencies = "all", or {line}'
    return line


def _of_selected(wish: Wish, owner: str, files: Sequence[FileExplanation]) -> Remedy:
    """Say why what fits is not here though its project is selected."""
    newest = _newest(wish, [entry.file for entry in files])
    if newest is None:
        return Remedy(f"{owner} has nothing that fits either")
    fitting = [
        e for e in files if _is_meant(wish, e.file) and version_of(e.file, wish.project) == newest
    ]
    upstream = f"{owner} has {_what(wish, newest)}"
    chosen = next((entry for entry in fitting if entry.verdict.selected), None)
    if chosen is None:
        return Remedy(upstream, _change(wish, fitting[0].verdict))
    if chosen.is_linked:
        return Remedy(upstream, f"take it out of {chosen.verdict.rule}")
    if chosen.last_error:
        return Remedy(upstream, f"pypimirror retry (the last try failed: {chosen.last_error})")
    return Remedy(upstream, "pypimirror sync")


def _change(wish: Wish, verdict: Verdict) -> str:
    """Return what to do about the rule that keeps a file out."""
    key = verdict.rule.rpartition(".")[2]
    if key in ("python", "platforms"):
        return f"{verdict.rule}: declare {wish.environment} ({verdict.fact})"
    return f"{verdict.rule}: let it in ({verdict.fact})"


def _what(wish: Wish, newest: Version) -> str:
    return wish.file or f"{wish.project} {newest}"


def _newest(wish: Wish, names: Iterable[str]) -> Version | None:
    """Return the newest version of which a file would do."""
    versions = [version_of(name, wish.project) for name in names if _is_meant(wish, name)]
    return max((v for v in versions if v is not None), default=None)


def _is_meant(wish: Wish, name: str) -> bool:
    if wish.file is not None:
        return name == wish.file
    version = version_of(name, wish.project)
    allowed = bounded.specifiers(wish.versions)
    if version is None or allowed is None or not allowed.contains(version, prereleases=True):
        return False
    return wish.fits(name)
