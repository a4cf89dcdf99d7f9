"""The notes of a reader about an archive that it can read to its end.

There are two kinds: parts that nobody could check, and contradictions, where an archive says
something about itself that is not true. An archive that is unreadable or unsafe raises
`ArchiveError` instead.

A contradiction refuses an archive too, unless the operator has released exactly these bytes. A
reader with `released` set notes a contradiction and reads on. All other faults still end it.
"""

from __future__ import annotations

from pypimirror.verify.archives.limits import ArchiveError


class ContradictionError(ArchiveError):
    """An archive that is readable, but contradicts itself."""


class Findings:
    """Collects the notes on one archive while it is read."""

    def __init__(self, *, released: bool = False) -> None:
        self._released = released
        self.unchecked: list[str] = []  #: what could not be checked and why, as ends of sentences
        self.contradictions: list[str] = []  #: of released bytes, in the same form

    def contradiction(self, message: str) -> None:
        """Note a contradiction of released bytes; raise `ContradictionError` for all others."""
        if not self._released:
            raise ContradictionError(message)
        if message not in self.contradictions and len(self.contradictions) < _MOST:
            self.contradictions.append(message)


#: Most contradictions that are kept for one archive.
_MOST = 20
