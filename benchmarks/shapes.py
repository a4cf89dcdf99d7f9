"""The shapes of the corpora: how many projects and files, and how large. No I/O."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Shape:
    """What a corpus looks like. Sizes in bytes."""

    name: str
    projects: int
    files: int
    total: int
    spread: float = 0.0  #: sigma of the log-normal distribution of sizes; 0: all the same
    even: bool = True  #: each project has the same number of files
    wheels_only: bool = False
    real: bool = False  #: files of the tests' corpus of real wheels instead


LONG_TAIL = Shape("long-tail", 1_000, 5_000, 1_400_000_000, spread=2.11, even=False)
TINY = Shape("tiny", 500, 20_000, 200_000_000)
HUGE = Shape("huge", 4, 4, 2_000_000_000, wheels_only=True)
MANY = Shape("many", 50_000, 100_000, 200_000_000)
SOME = Shape("some", 10_000, 20_000, 40_000_000)
REAL = Shape("real", 0, 0, 0, real=True)
WHEELS = Shape("wheels", 0, 0, 0, wheels_only=True, real=True)

SMOKE = {
    LONG_TAIL: replace(LONG_TAIL, projects=30, files=90, total=4_000_000),
    TINY: replace(TINY, projects=10, files=200, total=2_000_000),
    HUGE: replace(HUGE, projects=2, files=2, total=16_000_000),
    MANY: replace(MANY, projects=60, files=120, total=240_000),
    SOME: replace(SOME, projects=60, files=120, total=240_000),
    REAL: REAL,
    WHEELS: WHEELS,
}


def counts(shape: Shape, seed: int) -> list[int]:
    """Return the number of files of each project: a long tail unless the shape is even."""
    each = max(1, shape.files // shape.projects)
    if shape.even:
        return [each] * shape.projects
    chance = random.Random(f"{seed} counts")
    weights = [chance.lognormvariate(0, 1.2) for _ in range(shape.projects)]
    rest = shape.files - shape.projects
    found = [1 + int(rest * weight / sum(weights)) for weight in weights]
    for position in range(shape.files - sum(found)):  # the rest that rounding down has left
        found[position % len(found)] += 1
    return found


def sizes(shape: Shape, seed: int) -> list[int]:
    """Return the size of each file; with a spread the median is far below the mean."""
    mean = shape.total / shape.files
    if not shape.spread:
        return [int(mean)] * shape.files
    chance = random.Random(f"{seed} sizes")
    median = mean / math.exp(shape.spread**2 / 2)
    drawn = [median * chance.lognormvariate(0, shape.spread) for _ in range(shape.files)]
    # One size in thousands could be a fifth of the sum. So bound it, and adjust the sum in the
    # upper half only, so that the median stays where it is.
    bound = max(2 * mean, shape.total / 20)
    drawn = [min(size, bound) for size in drawn]
    small = sum(size for size in drawn if size <= median)
    large = sum(size for size in drawn if size > median)
    factor = (shape.total - small) / large if large else 1.0
    return [max(2_000, int(size if size <= median else size * factor)) for size in drawn]
