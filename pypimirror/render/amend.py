"""Amend a root index: take the bytes of the last one and change the entries of some projects.

No I/O, like `pypimirror.render.rendering`, which it depends on. The result has the same bytes as a
full rendering, but the cost grows only with the number of changes. The rest is copied at the speed
of memory. The rules:

* The old index must have been made by `render`, with the same API version, and its entries must be
  sorted by the bytes of their names. The caller must know that its bytes are unchanged.
* If it does not look like that, it is refused before the first byte is returned. Then the whole
  index is rendered.
* If a project to remove is not there, it was removed before. An entry to add is inserted, or
  replaces the old entry.

Entries are found by binary search: at an offset, the next begin of an entry gives a name.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping

from pypimirror.render.pages import RootEntry
from pypimirror.render.rendering import RootForm, serial_of

#: Bytes of the old index in one chunk.
_CHUNK = 1 << 20

#: Sorts after all names.
_LAST = b"\xff"


class AmendError(ValueError):
    """The old index does not have the expected form. The whole index must be rendered."""


def amended(
    form: RootForm,
    old: bytes,
    changes: Mapping[str, RootEntry | None],
    *,
    api_version: tuple[int, int],
    serial: int | None,
) -> Iterator[bytes]:
    """Return the new index in chunks. `changes` has the new entry by project, or None to remove it.

    Raises `AmendError` at once, never while chunks are read.
    """
    before = serial_of(old)
    head, tail = form.head(api_version, before), form.tail(before)
    start, end = len(head), len(old) - len(tail)
    if start > end or not old.startswith(head) or not old.endswith(tail):
        raise AmendError("its head or its tail differs")
    parts = list(_parts(_Entries(form, old, end), start, changes))
    return _chunks(form, old, parts, form.head(api_version, serial), form.tail(serial))


class _Entries:
    """The entries of an old index, whose last one ends at `end`. Offsets are bytes."""

    def __init__(self, form: RootForm, old: bytes, end: int) -> None:
        self.form = form
        self.old = old
        self.end = end

    def next(self, offset: int) -> int:
        """Return the offset of the first entry that begins at or after `offset`."""
        found = self.old.find(self.form.opening, offset, self.end)
        return found if found >= 0 else self.end

    def at(self, begin: int) -> tuple[bytes, int]:
        """Return the name of the entry at an offset, and the offset of its end."""
        if begin == self.end:
            return _LAST, begin
        found = self.form.entry.match(self.old, begin, self.end)
        if found is None:
            raise AmendError(f"no entry begins at byte {begin}")
        return found[1], found.end()

    def find(self, name: bytes, offset: int) -> int:
        """Return the offset of the first entry from `offset` on whose name is not less than
        `name`.
        """
        offsets = range(offset, self.end)
        found = bisect_left(offsets, name, key=lambda offset: self.at(self.next(offset))[0])
        return self.next(offset + found)

    def behind(self, stop: int) -> int:
        """Return the offset of the entry that follows the one that ends at `stop`."""
        begin = min(stop + len(self.form.separator), self.end)
        if self.next(stop) != begin:
            raise AmendError(f"no entry ends at byte {stop}")
        return begin


def _parts(
    entries: _Entries, position: int, changes: Mapping[str, RootEntry | None]
) -> Iterator[bytes | range]:
    """Yield the parts of the new index: new entries, and ranges of old ones.

    `position` is the offset of the first old entry.
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
    """Yield the range of the old entries from `position` to `begin`, if there are any."""
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
