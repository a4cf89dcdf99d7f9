"""The part of `status` on the dependencies of selected releases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pypimirror.catalog.figures.closure import ClosureFigures, Unsure
from pypimirror.domain import documents
from pypimirror.domain.sizes import number_of

#: The text names at most this number of each kind.
_SHOWN = 5


def document(figures: ClosureFigures | None) -> documents.Dependencies | None:
    """Return the part of `status --json`; None if no dependencies are followed."""
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


def lines(part: documents.Dependencies | None) -> Iterator[str]:
    """Yield the lines of the text; none if no dependencies are followed."""
    if part is None:
        return
    here = number_of(part["projects"], "project")
    yield f"dependencies: {here} here only because others need them"
    for number, thing, what, ones in (
        (part["unknown"], "release", "without known requirements", part["unknown_releases"]),
        (part["missing"], "project", "needed and not mirrored", part["missing_projects"]),
        (part["unreadable"], "requirement", "that cannot be read", part["unreadable_requirements"]),
    ):
        if number:
            yield f"{number_of(number, thing)} {what}:"
        for each in ones[:_SHOWN]:
            yield f"  {each['project']} {each['version'] or ''}".rstrip() + f" {each['why']}"
        if number > _SHOWN:
            yield f"  and {number - _SHOWN} more; --json names up to 50"
