"""A root index amended: the bytes of the last one, with the entries of some projects changed.

Pure, as `pypimirror.render.rendering`, to which it is bound: the same bytes come out as if the
whole index had been rendered, for a cost that grows with what changed. All else is copied, at the
speed of memory. The rules:

* The old index must be one that `render` made, of the same API version, with its entries in the
  order of the bytes of their names. Whether its bytes are still those is for the caller to know.
* What does not look so is refused, before the first byte is given out: then the whole is rendered.
* A project that is to go and is not there has gone before; one that is to be listed is put in, or
  in the place of its old entry.

Entries are found by halving: names are asked for wherever an entry begins behind an offset.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping

from pypimirror.render.pages import RootEntry
from pypimirror.render.rendering import RootForm, serial_of

#: Bytes of the old index in one chunk.
_CHUNK = 1 << 20

#: Behind all names.
_LAST = b"\xff"


class AmendError(ValueError):
    """The old index is not what it was taken for, and the whole must be rendered."""


def amended(
    form: RootForm,
    old: bytes,
    changes: Mapping[str, RootEntry | None],
    *,
    api_version: tuple[int, int],
    serial: int | None,
) -> Iterator[bytes]:
    """Return the new index in chunks; `changes` has entries by project, None where one goes.

    Raises `AmendError` right away, and never while chunks are taken.
    """
    before = serial_of(old)
    head, tail = form.head(api_version, before), form.tail(before)
    start, end = len(head), len(old) - len(tail)
    if start > end or not old.startswith(head) or not old.endswith(tail):
        raise AmendError("its head or its tail is another one")
    parts = list(_parts(_Entries(form, old, end), start, changes))
    return _chunks(form, old, parts, form.head(api_version, serial), form.tail(serial))


class _Entries:
    """The entries of an old index, whose last one ends at `end`. Offsets are bytes."""

    def __init__(self, form: RootForm, old: bytes, end: int) -> None:
        self.form = form
        self.old = old
        self.end = end

    def next(self, offset: int) -> int:
        """Return where the first entry begins that does not begin before `offset`."""
        found = self.old.find(self.form.opening, offset, self.end)
        return found if found >= 0 else self.end

    def at(self, begin: int) -> tuple[bytes, int]:
        """Return the name in the entry that begins there, and where that ends."""
        if begin == self.end:
            return _LAST, begin
        found = self.form.entry.match(self.old, begin, self.end)
        if found is None:
            raise AmendError(f"its byte {begin} begins no entry")
        return found[1], found.end()

    def find(self, name: bytes, offset: int) -> int:
        """Return where the first entry from `offset` on begins whose name is not before `name`."""
        offsets = range(offset, self.end)
        found = bisect_left(offsets, name, key=lambda offset: self.at(self.next(offset))[0])
        return self.next(offset + found)

    def behind(self, stop: int) -> int:
        """Return where the entry begins that follows the one which ends there."""
        begin = min(stop + len(self.form.separator), self.end)
        if self.next(stop) != begin:
            raise AmendError(f"its byte {stop} ends no entry")
        return begin


def _parts(
    entries: _Entries, position: int, changes: Mapping[str, RootEntry | None]
) -> Iterator[bytes | range]:
    """Yield what the new index is put together from: new entries, and ranges of old ones.

    `position` is where the first old entry begins.
    """
    form, old, end = entries.form, entries.old, entries.end
    if entries.next(position) != position:
        raise AmendError("it does not begin with an entry")
    for project, entry in sorted(changes.items()):
        name = project.encode()
        begin = entries.find(name, position)
        found, stop = entries.at(begin)
        fresh = form.entries([entry]) if entry is not None else b""
        if found == name and old[begin:stop] == fresh:
            continue
        yield from _kept(form, position, begin, end)
        if fresh:
            yield fresh
        position = entries.behind(stop) if found == name else begin
    yield from _kept(form, position, end, end)


def _kept(form: RootForm, position: int, begin: int, end: int) -> Iterator[range]:
    """Yield the range of the entries from `position` up to the one at `begin`, if there are any."""
    stop = begin if begin == end else begin - len(form.separator)
    if stop > position:
        yield range(position, stop)


def _chunks(
    form: RootForm, old: bytes, parts: list[bytes | range], head: bytes, tail: bytes
) -> Iterator[bytes]:
    yield head
    separator = b""
    for part in parts:
        yield separator
        separator = form.separator
        if isinstance(part, bytes):
            yield part
            continue
        for offset in range(part.start, part.stop, _CHUNK):
            yield old[offset : min(offset + _CHUNK, part.stop)]
    yield tail
