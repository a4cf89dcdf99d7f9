"""Statistics on what a mirror held at one time, as a mark of the catalog stores them for metrics.

`pypimirror.catalog.queries.statistics` counts them. This module knows no SQL.
"""

from __future__ import annotations

import msgspec

from pypimirror.catalog.states import PROVEN
from pypimirror.system.clock import DAY

#: If counting took longer than this, in seconds, a sync repeats it only after a day.
_QUICK = 0.2
#: Limits for the age of proofs, in days.
AGES = (1, 7, 30, 90)


class Statistics(msgspec.Struct, frozen=True):
    """What a mirror held at one time."""

    at: float  #: seconds since the epoch
    files: dict[str, int]  #: number of files, by the word for their state
    oldest_proof: float | None  #: the oldest time at which a held file was last proven right
    proven_within: dict[int, int]  #: number of files proven right within this many days
    took: float = 0.0  #: seconds that counting took

    def is_old(self, now: float) -> bool:
        """Whether it is time to count again, also after the clock was set back."""
        return self.took < _QUICK or not 0 <= now - self.at < DAY

    @property
    def proven(self) -> int:
        """The number of proven files."""
        return sum(self.files[state.label] for state in PROVEN)


#: Decodes the output of `text`. Raises `ValueError`.
parse = msgspec.json.Decoder(Statistics, strict=False).decode


def text(figures: Statistics) -> str:
    """Encode statistics."""
    return msgspec.json.encode(figures).decode()
