"""What a reader finds in an archive that it can read to its end.

Lives here: what could not be checked, and what an archive says of itself that is not so. Does not
live here: what makes an archive unreadable or unsafe, which is an `ArchiveError` at once.

An archive that contradicts itself is refused too, and has one way in: the operator may look at
these very bytes and release them. So a reader that was told `released` notes a contradiction and
reads on; whatever else is wrong still ends it.
"""

from __future__ import annotations

from pypimirror.verify.archives.limits import ArchiveError


class ContradictionError(ArchiveError):
    """An archive that can be read to its end and is not what it says of itself."""


class Findings:
    """What was found in one archive, while it is read."""

    def __init__(self, *, released: bool = False) -> None:
        self._released = released
        self.unchecked: list[str] = []  #: what could not be checked and why, as ends of sentences
        self.contradictions: list[str] = []  #: the same of what is not as it says; if released

    def contradiction(self, message: str) -> None:
        """Note, of released bytes, what contradicts; raises `ContradictionError` of all others."""
        if not self._released:
            raise ContradictionError(message)
        if message not in self.contradictions and len(self.contradictions) < _MOST:
            self.contradictions.append(message)


#: Contradictions that are kept of one archive.
_MOST = 20
