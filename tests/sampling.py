"""Which cases of an expensive test `make test` runs, and which wait for `make test-thorough`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def sample(cases: Iterable[Any], *kept: Any) -> list[Any]:
    """The cases of a test; those that are not kept are marked `thorough`.

    Each kept one has to be a case, so that none is lost when cases get other names.
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
