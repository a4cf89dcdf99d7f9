"""Reduces sets of version specifiers. Pure.

For a project that many need, most specifiers add nothing: `>=1.2,<3` adds nothing to `>=1`. Without
them, the selection compares each file with fewer specifiers, and it does not change when another
release requires the same versions in other words.
"""

from __future__ import annotations

from collections.abc import Iterable

from packaging.specifiers import Specifier
from packaging.version import Version

from pypimirror.domain import bounded

#: Operators whose version is the lowest that matches.
_FROM = frozenset({">=", ">", "==", "~="})


def fewest(specifiers: Iterable[str]) -> tuple[str, ...]:
    """Return fewer specifiers, in order, that together allow the same versions.

    "" allows every version. If it is among `specifiers`, the result is ("",).
    """
    found = set(specifiers)
    if "" in found:
        return ("",)
    least = min((v for text in found if (v := _only_least(text)) is not None), default=None)
    if least is None:
        return tuple(sorted(found))
    kept = {text for text in found if not _is_within(text, least)}
    return tuple(sorted({*kept, f">={least}"}))


def _only_least(text: str) -> Version | None:
    """Return the version V of `>=V`; None for all other specifiers."""
    allowed = bounded.specifiers(text)
    clauses = list(allowed) if allowed is not None else []
    if len(clauses) != 1 or clauses[0].operator != ">=":
        return None
    return _version(clauses[0])


def _is_within(text: str, least: Version) -> bool:
    """Whether specifiers allow no version below `least`, as far as their clauses show."""
    clauses = bounded.specifiers(text) or ()
    bounds = (_version(each) for each in clauses if each.operator in _FROM)
    return any(bound is not None and bound >= least for bound in bounds)


def _version(clause: Specifier) -> Version | None:
    """Return the version in a clause; None for `1.*`, which allows pre-releases of 1 too."""
    version = bounded.version(clause.version)
    return None if version is None or version.local else version
