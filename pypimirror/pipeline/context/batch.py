"""A batch: the unit of work, and what its stages pass on to each other.

Nothing else knows what is in here. Whoever takes a batch through the stages may be any process,
and a batch that nobody has finished is begun again from what the catalog says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pypimirror.domain.model import Problem


@dataclass(frozen=True)
class Observed:
    """What bytes are, seen while they were written or read by this very process."""

    size: int  #: bytes
    sha256: bytes
    url: str = ""  #: where they came from, where that is known
    stamp: int | None = None  #: of the file in staging then; see `storage.stamps.stamp`
    #: sha256 of a wheel's core metadata, where that is in staging already
    metadata: bytes = b""


@dataclass(frozen=True)
class Batch:
    """Projects that go through the stages together; without any, the mirror as a whole.

    What a stage learns of a file stands under the id of the file in the catalog.
    """

    number: int
    projects: tuple[int, ...] = ()  #: ids
    #: What is known of the bytes of files that are fetched and not verified.
    observed: dict[int, Observed] = field(default_factory=dict, compare=False)
    #: What lies in the places of files and is not what is claimed: digests, size, what is wrong.
    in_the_way: dict[int, tuple[Mapping[str, str], int, Problem]] = field(
        default_factory=dict, compare=False
    )
    #: Links that were tried: the place's name and the address.
    tried: dict[int, set[tuple[str, str]]] = field(default_factory=dict, compare=False)
