"""Which share of changed bits does each format detect, where no digest is known?

    python -m tests.verify.detection [FLIPS]

Prints a table: for every kind of archive, single bits flipped at random places, how many were
refused, and where those that were not refused stood. The same number of flips gives the same
table.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.verify.builders import samples
from tests.verify.helpers import check


@dataclass
class Share:
    """What became of the flips in one kind of archive."""

    flips: int = 0
    detected: int = 0
    missed: list[int] = field(default_factory=list)  #: offsets

    @property
    def value(self) -> float:
        """The share that was detected."""
        return self.detected / self.flips


def endings() -> list[str]:
    """The kinds that differ; some have several endings."""
    found = {(s.form.container, s.form.compression): e for e, s in reversed(samples().items())}
    return list(reversed(found.values()))


def measure(ending: str, flips: int) -> Share:
    """Flip one bit at a time in the sample of a kind."""
    sample = samples()[ending]
    chance = random.Random(f"{ending} {flips}")
    share = Share()
    for _ in range(flips):
        at = chance.randrange(len(sample.content))
        content = bytearray(sample.content)
        content[at] ^= 1 << chance.randrange(8)
        share.flips += 1
        if check(bytes(content), sample.filename).problem is None:
            share.missed.append(at)
        else:
            share.detected += 1
    return share


def table(flips: int) -> Iterator[str]:
    """The table, line by line."""
    yield f"{'kind':<10} {'bytes':>6} {'flips':>6} {'found':>8}  missed most in the bytes from"
    for ending in endings():
        share = measure(ending, flips)
        places = Counter(at // 16 * 16 for at in share.missed).most_common(4)
        where = ", ".join(f"{place} ({count})" for place, count in places)
        size = len(samples()[ending].content)
        yield f"{ending:<10} {size:>6} {share.flips:>6} {share.value:>8.2%}  {where}"


if __name__ == "__main__":
    for line in table(int(sys.argv[1]) if len(sys.argv) > 1 else 4000):
        print(line, flush=True)
