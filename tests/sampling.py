"""Chooses the cases of an expensive test for `make test`; `make test-thorough` runs the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def sample(cases: Iterable[Any], *kept: Any) -> list[Any]:
    """Return the cases of a test; those that are not kept are marked `thorough`.

    Each kept name must be a case, so that none is lost when cases get other names.
    """
    every = list(cases)
    assert kept, "make test runs one case at least"
    assert all(case in every for case in kept), f"no such case: {kept}"
    return [
        case
        if case in kept
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=THOROUGH)
        for case in every
    ]


THOROUGH = pytest.mark.thorough
