"""Single bits flipped at random: what goes unseen must be rare.

What is missed: times and attributes (zip, gzip), unused bits behind a deflate stream,
contents (.tar). That it does not matter is tested in `archives/test_contract.py`.

`python -m tests.verify.detection` prints the shares.
"""

from __future__ import annotations

import pytest

from tests.verify.builders import samples
from tests.verify.detection import endings, measure

FLIPS = 400


@pytest.mark.parametrize("ending", endings())
def test_share_of_flips_that_are_found(ending: str) -> None:
    share = measure(ending, FLIPS)
    assert share.value >= samples()[ending].found, (
        f"{share.value:.2%} found, missed at {share.missed}"
    )
