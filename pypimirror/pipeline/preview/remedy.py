"""How to get a missing project or file: whether an upstream has it, and which setting to change.

Only the pages of the missing projects are fetched. An upstream that is down is asked once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from packaging.version import Version

from pypimirror.check.remedies import Remedy, Wish
from pypimirror.config.settings import Config
from pypimirror.domain import bounded
from pypimirror.domain.filenames import version_of
from pypimirror.pipeline.preview import explain
from pypimirror.pipeline.preview.explain import FileExplanation
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.select.facts import Verdict
from pypimirror.select.locked import RESOLVED
from pypimirror.select.selection import Selection


def find(config: Config, wishes: Iterable[Wish]) -> list[Remedy]:
    """Return a remedy for each wish, in the same order. Raises `ConfigError`."""
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
        return _of_selected(run.config, wish, found.upstream, found.files)
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
    """Return the setting that would select a project."""
    if verdict.rule != "select.projects":
        return f"take it out of {verdict.rule}: {verdict.fact}"
    entry = f'"{wish.project}{wish.versions}"' if wish.versions else f'"{wish.project}"'
    line = f"[select] projects: add {entry}"
    if wish.is_indirect and not run.config.select.dependencies:
        return f'[select] dependencies = "all", or {line}'
    return line


def _of_selected(
    config: Config, wish: Wish, owner: str, files: Sequence[FileExplanation]
) -> Remedy:
    """Explain why a fitting file is not here although its project is selected."""
    newest = _newest(wish, [entry.file for entry in files])
    if newest is None:
        return Remedy(f"{owner} has nothing that fits either")
    fitting = [
        e for e in files if _is_meant(wish, e.file) and version_of(e.file, wish.project) == newest
    ]
    upstream = f"{owner} has {_what(wish, newest)}"
    chosen = next((entry for entry in fitting if entry.verdict.selected), None)
    if chosen is None:
        return Remedy(upstream, _change(config, wish, fitting[0]))
    if chosen.is_linked:
        return Remedy(upstream, f"take it out of {chosen.verdict.rule}")
    if chosen.last_error:
        return Remedy(upstream, f"pypimirror retry (the last try failed: {chosen.last_error})")
    return Remedy(upstream, "pypimirror sync")


def _change(config: Config, wish: Wish, file: FileExplanation) -> str:
    """Return the setting to change for a file that a rule excludes."""
    verdict = file.verdict
    key = verdict.rule.rpartition(".")[2]
    if key in ("python", "platforms"):
        declared = config.select.platforms
        if declared and "any" not in declared and file.file.endswith("-any.whl"):
            return f'select.platforms: add "any" ({verdict.fact})'
        return f"{verdict.rule}: declare {wish.environment} ({verdict.fact})"
    if Path(verdict.rule).parent.name == RESOLVED:  # people cannot change this file
        return f'[select] dependencies = "all": uv resolves to wheels alone ({verdict.fact})'
    return f"{verdict.rule}: let it in ({verdict.fact})"


def _what(wish: Wish, newest: Version) -> str:
    return wish.file or f"{wish.project} {newest}"


def _newest(wish: Wish, names: Iterable[str]) -> Version | None:
    """Return the newest version with a file that is good enough."""
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
