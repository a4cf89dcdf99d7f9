"""What `status` says of the dependencies of what is selected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pypimirror.catalog.figures.closure import ClosureFigures, Unsure
from pypimirror.domain import documents

#: How many of each are named.
_SHOWN = 5


def document(figures: ClosureFigures | None) -> documents.Dependencies | None:
    """Return what `status --json` says; None where no dependencies are followed."""
    if figures is None:
        return None
    return {
        "projects": figures.projects,
        "unknown": figures.unknown,
        "missing": figures.missing,
        "unreadable": figures.faults,
        "unknown_releases": _entries(figures.unknown_ones),
        "missing_projects": _entries(figures.missing_ones),
        "unreadable_requirements": _entries(figures.faulty_ones),
    }


def _entries(ones: Sequence[Unsure]) -> list[documents.UnsureDependency]:
    return [
        {"project": each.project, "version": each.version or None, "why": each.why} for each in ones
    ]


def lines(told: documents.Dependencies | None) -> Iterator[str]:
    """Yield what people are told."""
    if told is None:
        return
    yield f"dependencies: {told['projects']} projects are here since others need them"
    for number, what, ones in (
        (told["unknown"], "releases do not tell what they require", told["unknown_releases"]),
        (told["missing"], "projects are needed and not mirrored", told["missing_projects"]),
        (told["unreadable"], "requirements cannot be read", told["unreadable_requirements"]),
    ):
        if number:
            yield f"{number} {what}:"
        for each in ones[:_SHOWN]:
            yield f"  {each['project']} {each['version'] or ''}".rstrip() + f" {each['why']}"
        if number > _SHOWN:
            yield f"  and {number - _SHOWN} more; --json names up to 50"
