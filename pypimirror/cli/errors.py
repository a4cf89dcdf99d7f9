"""From errors and outcomes to exit codes and messages. The only place that knows the codes."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from pypimirror.catalog import states
from pypimirror.config.settings import ConfigError
from pypimirror.domain.errors import LockedError
from pypimirror.domain.model import PypimirrorError, Reason
from pypimirror.system import abrupt

if TYPE_CHECKING:
    from pypimirror.pipeline.summary import Summary


class Exit(IntEnum):
    """The exit codes that other programs rely on."""

    DONE = 0
    INCOMPLETE = 1  #: finished, with files or projects that failed
    USAGE = 2  #: wrong use or configuration
    STOPPED = abrupt.STOPPED  #: could not work
    LOCKED = 4  #: another run holds the lock
    INTERRUPTED = abrupt.INTERRUPTED


OF_STATE = {
    states.COMPLETED: Exit.DONE,
    states.INCOMPLETE: Exit.INCOMPLETE,
    states.FAILED: Exit.STOPPED,
    states.CANCELLED: Exit.INTERRUPTED,
}


def of_result(result: Summary) -> Exit:
    """Return the exit code of a run that is recorded."""
    if result.state == states.FAILED:
        # What ends a run is of no project.
        causes = {problem.reason for problem in result.failures if not problem.project}
        if Reason.CONFIGURATION in causes:
            return Exit.USAGE
    return OF_STATE[result.state]


def of_error(error: PypimirrorError) -> Exit:
    """Return the exit code that an error stands for."""
    if isinstance(error, ConfigError):
        return Exit.USAGE
    if isinstance(error, LockedError):
        return Exit.LOCKED
    return Exit.STOPPED
