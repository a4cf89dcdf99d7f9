"""The states of files, with the only table of allowed moves, and those of runs. Knows no SQL."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from pypimirror.domain.errors import PypimirrorError

#: States of a run and of a stage.
RUNNING, COMPLETED, INCOMPLETE, FAILED, CANCELLED, CRASHED = (
    "running", "completed", "incomplete", "failed", "cancelled", "crashed",
)  # fmt: skip
RUN_STATES = frozenset({RUNNING, COMPLETED, INCOMPLETE, FAILED, CANCELLED, CRASHED})
#: States of a run that was not through with its work.
CUT_SHORT = frozenset({RUNNING, FAILED, CANCELLED, CRASHED})


class State(IntEnum):
    """Where a file stands. Stored as its number; never renumber."""

    WANTED = 0  #: selected and offered; nothing is here
    FETCHED = 1  #: bytes are here, not yet proven
    VERIFIED = 2  #: proven and in place; not yet on a page
    PUBLISHED = 3  #: on a page
    FAILED = 4  #: could not be fetched; will be tried again
    QUARANTINED = 5  #: proven bad; will be tried again
    WITHDRAWN = 6  #: no longer offered; bytes go after the grace period
    LINKED = 7  #: on a page that leads to the upstream; bytes that were here go as above

    @property
    def label(self) -> str:
        """The word for people and JSON."""
        return self.name.lower()


#: From each state, the states that a file may move to.
MOVES: dict[State, frozenset[State]] = {
    State.WANTED: frozenset({State.FETCHED, State.FAILED, State.QUARANTINED, State.LINKED}),
    State.FETCHED: frozenset(
        {
            *(State.WANTED, State.VERIFIED, State.QUARANTINED, State.FAILED),
            *(State.WITHDRAWN, State.LINKED),
        }
    ),
    State.VERIFIED: frozenset(
        {State.PUBLISHED, State.FETCHED, State.WANTED, State.WITHDRAWN, State.LINKED}
    ),
    State.PUBLISHED: frozenset({State.FETCHED, State.WANTED, State.WITHDRAWN, State.LINKED}),
    State.FAILED: frozenset({State.FETCHED, State.FAILED, State.QUARANTINED, State.LINKED}),
    State.QUARANTINED: frozenset({State.FETCHED, State.FAILED, State.QUARANTINED, State.LINKED}),
    State.WITHDRAWN: frozenset({State.WANTED, State.FETCHED, State.LINKED}),
    State.LINKED: frozenset({State.WANTED, State.FETCHED, State.WITHDRAWN}),
}

#: States in which a download is due.
DUE = frozenset({State.WANTED, State.FAILED, State.QUARANTINED})
#: Seconds. No file waits longer for its next try; a time that is further away comes from a clock
#: that was wrong, and does not count.
LONGEST_WAIT = 86_400.0

#: The word for what failed since a policy of the upstream keeps it back: its `model.Reason`.
DENIED = "denied"
#: How the last error of such a file begins.
DENIED_ERROR = f"{DENIED}: "


def word(state: int, last_error: str | None) -> str:
    """Return the word for where a file stands, for people and JSON.

    What the upstream keeps back is no failure of the mirror's, and has a word of its own.
    """
    is_denied = state == State.FAILED and (last_error or "").startswith(DENIED_ERROR)
    return DENIED if is_denied else State(state).label


#: All that `word` returns.
WORDS = (*(state.label for state in State), DENIED)

#: States in which something is left to do.
OPEN = DUE | {State.FETCHED, State.VERIFIED}
#: States in which verified bytes are in place.
PROVEN = frozenset({State.VERIFIED, State.PUBLISHED})


class Cause(StrEnum):
    """Why a project or file is not offered any more; null in the catalog while it is."""

    UPSTREAM = "upstream"  #: the upstream dropped it
    #: What the upstream says of it has changed, so that the configuration does not select it.
    CLAIMS = "claims"
    #: What the upstream offers besides, and is not here yet, takes its place in the selection.
    REPLACED = "replaced"
    SELECTION = "selection"  #: the configuration does not select it
    #: The upstream dropped it, and the configuration keeps it: it is to stay, with a mark.
    KEPT = "kept"
    QUARANTINE = "quarantine"  #: the upstream withholds it for now; its bytes stay here
    #: The upstream withheld it, so that it is on no page, and offers it no more: its bytes stay
    #: until the deletion guard has let go of them.
    DROPPED = "dropped"


class IllegalMoveError(PypimirrorError):
    """A file was to be moved to a state that its state does not lead to."""


def sources(target: State) -> frozenset[State]:
    """Return the states from which a file may move to `target`."""
    return frozenset(state for state, targets in MOVES.items() if target in targets)
