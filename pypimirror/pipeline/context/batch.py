"""A batch: the unit of work, and the values that its stages pass on to each other.

No other module stores these values. Any process may take a batch through the stages. If a batch is
not finished, it starts again from what the catalog says.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from pypimirror.domain.model import Problem


class Observed(Struct, frozen=True):
    """Facts about bytes that this process saw while it wrote or read them."""

    size: int  #: bytes
    sha256: bytes
    url: str = ""  #: where they came from, if that is known
    stamp: int | None = None  #: of the file in staging at that time; see `storage.stamps.stamp`
    #: sha256 of a wheel's core metadata, if that is in staging already
    metadata: bytes = b""


class Batch(Struct, frozen=True, eq=False):
    """Projects that go through the stages together. Without projects: the mirror as a whole.

    The dictionaries are keyed by the id of the file in the catalog.
    """

    number: int
    projects: tuple[int, ...] = ()  #: ids
    #: Facts about the bytes of files that are fetched and not yet verified.
    observed: dict[int, Observed] = field(default_factory=dict)
    #: Other bytes in the place of a file: their digests, size, and the problem.
    in_the_way: dict[int, tuple[Mapping[str, str], int, Problem]] = field(default_factory=dict)
    #: Names of projects that had no directory of files when the batch began. So nothing is in the
    #: places of their files, except those that the batch itself puts there.
    bare: set[str] = field(default_factory=set)
    #: Links that were tried: name of the place, and address.
    tried: dict[int, set[tuple[str, str]]] = field(default_factory=dict)
