"""`pypimirror check`: can an installer that knows only this mirror install something?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pypimirror.check import check, subjects
from pypimirror.check.check import Subjects
from pypimirror.check.outcome import CheckState, Gap, GapKind, Outcome
from pypimirror.check.remedies import Remedy, Wish
from pypimirror.check.targets import Target
from pypimirror.cli.display.output import out, print_json
from pypimirror.cli.errors import Exit, no_mirror
from pypimirror.config.settings import Config, ConfigError
from pypimirror.domain import operating_documents as documents
from pypimirror.domain.filenames import printable
from pypimirror.domain.model import ProjectName
from pypimirror.storage.opening import has_pages

_LONGEST = 60  #: characters of what was asked for

#: Why something is missing that no upstream can help with.
_OWN = {
    GapKind.LOST: "pypimirror verify --repair",
    GapKind.UNKNOWN: "--build lets uv and pip build it, which runs its code",
    GapKind.CONFLICT: None,
    GapKind.INSTALLER: None,
}


@dataclass(frozen=True)
class CheckArguments:
    """The arguments of the command."""

    requirements: Sequence[str]
    files: Sequence[Path]
    locks: Sequence[Path]
    pythons: Sequence[str]
    platforms: Sequence[str]
    builds: bool
    offline: bool


def run(config: Config, asked: CheckArguments, *, as_json: bool, quiet: bool) -> Exit:
    """Check, print the result, and return the exit code."""
    if not has_pages(config.directory, config.bucket):
        raise no_mirror(config.shown)
    what = _asked(config, asked)
    if not (what.wanted or what.locks):
        raise ConfigError(
            "check: [select] names nothing that can be installed; name requirements, -r FILE or "
            "--lock FILE"
        )
    found = list(check.check(config, what, builds=asked.builds, asks_pip=True))
    remedies = _remedies(config, found, what.targets, offline=asked.offline)
    if as_json:
        print_json(_document(found, remedies))
    else:
        _show(found, remedies, quiet=quiet)
    return Exit.INCOMPLETE if any(each.gaps for each in found) else Exit.DONE


def _asked(config: Config, asked: CheckArguments) -> Subjects:
    if not (asked.requirements or asked.files or asked.locks):
        return check.of_config(config, asked.pythons, asked.platforms)
    wanted = [subjects.of_file(path, f"-r {path}") for path in asked.files]
    if asked.requirements:
        wanted.append(subjects.of_texts(asked.requirements))
    return check.of(config, wanted, asked.locks, asked.pythons, asked.platforms)


def _remedies(
    config: Config, found: Sequence[Outcome], environments: Sequence[Target], *, offline: bool
) -> dict[Gap, Remedy]:
    """Return a remedy for each gap."""
    by_name = {(target.python, target.platform): target for target in environments}
    wishes: dict[Gap, Wish] = {}
    remedies: dict[Gap, Remedy] = {}
    for outcome in found:
        target = by_name.get((outcome.python or "", outcome.platform or ""))
        for gap in outcome.gaps:
            if gap.kind in _OWN:
                remedies[gap] = Remedy("", _OWN[gap.kind])
            else:
                wishes.setdefault(gap, _wish(gap, outcome, target))
    if offline or not wishes:
        return remedies | dict.fromkeys(wishes, Remedy("no upstream was asked"))
    # This import takes as long as all others, and only gaps need it.
    from pypimirror.pipeline.preview import remedy

    answers = remedy.find(config, wishes.values())
    return remedies | dict(zip(wishes, answers, strict=True))


def _wish(gap: Gap, outcome: Outcome, target: Target | None) -> Wish:
    def fits(name: str) -> bool:
        if target is None or not name.endswith(".whl"):
            return True
        return target.environments.install("-".join(name[:-4].rsplit("-", 3)[1:]))

    is_of_lock = gap.file is not None or outcome.python is None
    return Wish(
        ProjectName(gap.project),
        gap.requirement.removeprefix(gap.project),
        fits,
        outcome.environment,
        gap.file,
        is_indirect=bool(gap.chain) and not is_of_lock,
    )


def _document(found: Sequence[Outcome], remedies: Mapping[Gap, Remedy]) -> documents.Installable:
    return {
        "complete": not any(each.gaps for each in found),
        "environments": [
            {
                "subject": each.subject,
                "python": each.python,
                "platform": each.platform,
                "state": each.state.value,
                "releases": each.releases,
                "missing": [_missing(gap, remedies.get(gap)) for gap in each.gaps],
                "notes": list(each.notes),
            }
            for each in found
        ],
    }


def _missing(gap: Gap, answer: Remedy | None) -> documents.Missing:
    return {
        "project": gap.project or None,
        "requirement": gap.requirement or None,
        "file": gap.file,
        "kind": gap.kind.value,
        "message": gap.message,
        "needed_by": list(gap.chain),
        "upstream": (answer.upstream or None) if answer else None,
        "remedy": answer.line if answer else None,
    }


def _show(found: Sequence[Outcome], remedies: Mapping[Gap, Remedy], *, quiet: bool) -> None:
    for outcome in found:
        if quiet and outcome.state is CheckState.COMPLETE:
            continue
        subject = printable(outcome.subject, _LONGEST)
        out.print(f"{subject}, {outcome.environment}: {_word(outcome)}", markup=False)
        for gap in outcome.gaps:
            out.print(f"  {gap}", markup=False)
            answer = remedies.get(gap)
            if answer is not None and answer.upstream:
                out.print(f"    {answer.upstream}", markup=False)
            if answer is not None and answer.line:
                out.print(f"    to bring it: {answer.line}", markup=False)
        if not quiet:
            for note in outcome.notes:
                out.print(f"  note: {note}", markup=False)


def _word(outcome: Outcome) -> str:
    if outcome.state is CheckState.COMPLETE:
        return f"complete, {outcome.releases} release{'s' if outcome.releases != 1 else ''}"
    if outcome.state is CheckState.NOT_CHECKED:
        return "not checked"
    return f"{len(outcome.gaps)} missing"
