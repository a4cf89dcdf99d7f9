"""What a mirror held at a moment, as a mark of the catalog keeps it for metrics.

Figures are counted in `pypimirror.catalog.queries.statistics`. Knows no SQL.
"""

from __future__ import annotations

import msgspec

from pypimirror.catalog.states import PROVEN

DAY = 86400.0
#: Where counting took longer than this, in seconds, a sync does it again only after a day.
_QUICK = 0.2
#: Ages of proofs that are told apart, in days.
AGES = (1, 7, 30)


class Statistics(msgspec.Struct, frozen=True):
    """What a mirror held at a moment."""

    at: float  #: seconds since the epoch
    files: dict[str, int]  #: how many, by the word for their state
    oldest_proof: float | None  #: when the file that was looked at longest ago was seen to be right
    proven_within: dict[int, int]  #: files that were seen to be right in the last so many days
    took: float = 0.0  #: seconds that counting took

    def is_old(self, now: float) -> bool:
        """Whether it is time to count again; also where the clock was set back."""
        return self.took < _QUICK or not 0 <= now - self.at < DAY

    @property
    def proven(self) -> int:
        """How many files are proven."""
        return sum(self.files[state.label] for state in PROVEN)


#: Reads what `text` has written; raises `ValueError`.
parse = msgspec.json.Decoder(Statistics, strict=False).decode


def text(figures: Statistics) -> str:
    """Write figures."""
    return msgspec.json.encode(figures).decode()
