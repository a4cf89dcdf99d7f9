"""Sets of environments as bits, such as those in which a marker is true.

Each distinct marker is evaluated once for each set of facts that it distinguishes: a marker with
only `python_version` needs ten evaluations for two hundred environments. A marker that cannot be
evaluated counts as true everywhere, because a needless file costs less than a missing one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import reduce
from operator import or_

from packaging.markers import (
    InvalidMarker,
    Marker,
    UndefinedComparison,
    UndefinedEnvironmentName,
)

from pypimirror.domain import bounded
from pypimirror.select.environments import Environments

_VARIABLE = re.compile(
    r"\b(?:os_name|sys_platform|platform_\w+|python_version|python_full_version|implementation_\w+)"
)
_EXTRA = re.compile(r"\bextra\b")
#: Variables with more possible values than the environments list.
_OPEN = re.compile(r"full_version|implementation_version|platform_release|platform_version")

#: The facts for one evaluation, and the environments that share them.
_Groups = list[tuple[dict[str, str], int]]


class Masks:
    """The environments as bits, in the order of `Environments.each`."""

    def __init__(self, environments: Environments) -> None:
        self._environments = environments
        self.all = (1 << len(environments.each)) - 1
        self._markers: dict[tuple[str, str], int] = {}
        self._parsed: dict[str, Marker | None] = {}
        self._groups: dict[tuple[frozenset[str], str], _Groups] = {}
        self._pythons: dict[str, int] = {"": self.all}

    def of_python(self, requires_python: str) -> int:
        """Return the environments that the lower bounds of a Requires-Python admit.

        uv ignores upper bounds; pip does not. If they counted here, uv could choose a release whose
        requirements are not on the mirror.
        """
        known = self._pythons.get(requires_python)
        if known is None:
            known = _bits(self._environments.admitted(_from(requires_python)))
            self._pythons[requires_python] = known
        return known

    def of_marker(self, marker: str, extra: str = "") -> int:
        """Return the environments in which a marker is true, with this extra or with none ("")."""
        if not marker:
            return self.all
        if not names_extra(marker):
            extra = ""
        known = self._markers.get((marker, extra))
        if known is None:
            known = self._markers[marker, extra] = self._evaluated(marker, extra)
        return known

    def _evaluated(self, text: str, extra: str) -> int:
        if text not in self._parsed:
            self._parsed[text] = _parsed(text)
        marker = self._parsed[text]
        if marker is None:
            return self.all
        mask = 0
        for facts, environments in self._grouped(text):
            if environments & ~mask and _holds(marker, {**facts, "extra": extra}):
                mask |= environments
        return mask

    def _grouped(self, text: str) -> _Groups:
        """Return the environments in groups that a marker does not distinguish."""
        variables = frozenset(_VARIABLE.findall(text))
        asked = text if _OPEN.search(text) else ""
        known = self._groups.get((variables, asked))
        if known is None:
            found: dict[tuple[str, ...], int] = {}
            facts_of: dict[tuple[str, ...], dict[str, str]] = {}
            # The text also decides which implementations `facts_for` lists.
            for number, facts in self._environments.facts_for(text):
                key = tuple(facts.get(name, "") for name in sorted(variables))
                found[key] = found.get(key, 0) | 1 << number
                facts_of.setdefault(key, dict(facts))
            known = [(facts_of[key], mask) for key, mask in found.items()]
            self._groups[variables, asked] = known
        return known

    # For people

    def told(self, mask: int) -> str:
        """Return the environments as text, such as `python 3.12 on win_amd64`."""
        each = self._environments.each
        chosen = [pair for number, pair in enumerate(each) if mask >> number & 1]
        pythons = list(dict.fromkeys(python for python, _ in each))
        platforms = list(dict.fromkeys(platform for _, platform in each))
        of = dict.fromkeys(python for python, _ in chosen)
        on = dict.fromkeys(platform for _, platform in chosen)
        said = f"python {_ranges(pythons, list(of))}"
        if len(on) == len(platforms):
            return said
        return f"{said} on {', '.join(on)}" if len(on) <= _SHOWN else f"{said} on some platforms"


#: A message names at most this number of platforms.
_SHOWN = 4


def names_extra(marker: str) -> bool:
    """Whether a marker depends on the requested extra."""
    return _EXTRA.search(marker) is not None


#: The operators that set a lower bound, each with the operator of that bound.
_BELOW = {">=": ">=", ">": ">", "~=": ">=", "==": ">=", "===": ">="}


def _from(requires_python: str) -> str:
    """Return the lower bounds of a Requires-Python, as specifiers."""
    clauses = bounded.specifiers(requires_python) or ()
    return ",".join(
        f"{_BELOW[each.operator]}{each.version.removesuffix('.*')}"
        for each in clauses
        if each.operator in _BELOW
    )


def _bits(flags: list[bool]) -> int:
    return reduce(or_, (1 << number for number, flag in enumerate(flags) if flag), 0)


def _parsed(text: str) -> Marker | None:
    try:
        return Marker(text)
    except (InvalidMarker, RecursionError):
        return None


def _holds(marker: Marker, facts: Mapping[str, str]) -> bool:
    try:
        return marker.evaluate(dict(facts))
    except (UndefinedComparison, UndefinedEnvironmentName, ValueError, RecursionError):
        return True


def _ranges(known: list[str], chosen: list[str]) -> str:
    """Return the chosen versions as text; neighbours in `known`, which is sorted, form a range."""
    parts: list[list[str]] = []
    for version in known:
        if version not in chosen:
            parts.append([])
        elif parts and parts[-1]:
            parts[-1].append(version)
        else:
            parts.append([version])
    written = (
        part[0] if len(part) == 1 else f"{part[0]}\u2013{part[-1]}" for part in parts if part
    )
    return ", ".join(written)
