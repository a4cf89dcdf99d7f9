"""Sets of version specifiers, as few as say the same. Pure.

Of a project that many need, most specifiers name less than one other does: `>=1.2,<3` adds nothing
to `>=1`. Without them, the selection has fewer to hold each file against, and it does not change
when another release says the same in other words.
"""

from __future__ import annotations

from collections.abc import Iterable

from packaging.specifiers import Specifier
from packaging.version import Version

from pypimirror.domain import bounded

#: Operators whose version is the least that fits.
_FROM = frozenset({">=", ">", "==", "~="})


def fewest(specifiers: Iterable[str]) -> tuple[str, ...]:
    """Return specifiers, in order, that together mean the versions which all of these mean.

    "" means every version, and so do they where it is among them.
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
    """Return the version V of `>=V`."""
    allowed = bounded.specifiers(text)
    clauses = list(allowed) if allowed is not None else []
    if len(clauses) != 1 or clauses[0].operator != ">=":
        return None
    return _version(clauses[0])


def _is_within(text: str, least: Version) -> bool:
    """Whether specifiers mean no version below `least`."""
    clauses = bounded.specifiers(text) or ()
    bounds = (_version(each) for each in clauses if each.operator in _FROM)
    return any(bound is not None and bound >= least for bound in bounds)


def _version(clause: Specifier) -> Version | None:
    """Return the version that a clause names; None for `1.*`, which means pre-releases of 1 too."""
    version = bounded.version(clause.version)
    return None if version is None or version.local else version
