"""Each reason has words and a next step."""

from __future__ import annotations

import pytest

from pypimirror.domain.model import Reason
from pypimirror.status.reasons import REASONS


def test_they_are_in_the_order_of_the_list() -> None:
    assert list(REASONS) == list(Reason)


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_is_told_in_sentences(reason: Reason) -> None:
    for sentence in REASONS[reason]:
        assert sentence[0].isupper()
        assert sentence.endswith(".")
