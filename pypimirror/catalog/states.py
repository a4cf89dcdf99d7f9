"""The states of files with the only table of allowed moves, and the states of runs. No SQL."""

from __future__ import annotations

from enum import IntEnum, StrEnum

from pypimirror.domain.errors import PypimirrorError

#: States of a run and of a stage.
RUNNING, COMPLETED, INCOMPLETE, FAILED, CANCELLED, CRASHED = (
    "running", "completed", "incomplete", "failed", "cancelled", "crashed",
)  # fmt: skip
RUN_STATES = frozenset({RUNNING, COMPLETED, INCOMPLETE, FAILED, CANCELLED, CRASHED})
#: States of a run that did not finish its work.
CUT_SHORT = frozenset({RUNNING, FAILED, CANCELLED, CRASHED})

#: States of a worker, beside those above that it shares with a run. A lost worker has died, or has
#: sent no heartbeat for too long: others have its claims.
WORKING, LOST = "working", "lost"
WORKER_STATES = frozenset({WORKING, COMPLETED, FAILED, CANCELLED, LOST})

#: Where a worker runs: in the process of the run, in a child process, in a flow run of its own.
INLINE, CHILD, SHARD = "inline", "child", "shard"
#: A worker for what clients ask for, which belongs to no run. It is also the trigger of its runs.
REQUEST = "request"
EXECUTORS = frozenset({INLINE, CHILD, SHARD, REQUEST})


class State(IntEnum):
    """The state of a file. Stored as its number: never change a number."""

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


#: For each state, the states that a file may move to.
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
#: Seconds. No file waits longer for its next try. A later time comes from a wrong clock and is
#: ignored.
LONGEST_WAIT = 86_400.0

#: The word for a file that a policy of the upstream withholds: its `model.Reason`.
DENIED = "denied"
#: The beginning of the last error of such a file.
DENIED_ERROR = f"{DENIED}: "


def word(state: int, last_error: str | None) -> str:
    """Return the word for the state of a file, for people and JSON.

    A file that the upstream withholds is not a failure of the mirror and has its own word.
    """
    is_denied = state == State.FAILED and (last_error or "").startswith(DENIED_ERROR)
    return DENIED if is_denied else State(state).label


#: All words that `word` returns.
WORDS = (*(state.label for state in State), DENIED)

#: States in which a file still has work.
OPEN = DUE | {State.FETCHED, State.VERIFIED}
#: States in which verified bytes are in place.
PROVEN = frozenset({State.VERIFIED, State.PUBLISHED})


class Cause(StrEnum):
    """Why a project or file is no longer offered; NULL in the catalog while it is offered."""

    UPSTREAM = "upstream"  #: the upstream dropped it
    #: The upstream changed its claims, and the selection excludes it now.
    CLAIMS = "claims"
    #: New files of the upstream, which are not here yet, take its place in the selection.
    REPLACED = "replaced"
    SELECTION = "selection"  #: the configuration excludes it
    #: The upstream dropped it, and the configuration keeps it here with a mark.
    KEPT = "kept"
    QUARANTINE = "quarantine"  #: the upstream withholds it for now; its bytes stay here
    #: The upstream first withheld it, so it is on no page, and then dropped it. Its bytes stay
    #: until the deletion guard accepts the loss.
    DROPPED = "dropped"


class IllegalMoveError(PypimirrorError):
    """A file must not move from its state to the target state."""


def sources(target: State) -> frozenset[State]:
    """Return the states from which a file may move to `target`."""
    return frozenset(state for state, targets in MOVES.items() if target in targets)
