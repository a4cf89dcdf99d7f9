"""The exit codes, and which error or outcome ends with which code. Only this module decides it."""

from __future__ import annotations

from collections.abc import Callable
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


class WrongUse(Exception):  # noqa: N818 - a person's mistake, not a fault of the program
    """A command was used in a wrong way; `show` prints the right use."""

    def __init__(self, message: str, show: Callable[[], None]) -> None:
        super().__init__(message)
        self.show = show


OF_STATE = {
    states.COMPLETED: Exit.DONE,
    states.INCOMPLETE: Exit.INCOMPLETE,
    states.FAILED: Exit.STOPPED,
    states.CANCELLED: Exit.INTERRUPTED,
}


def of_result(result: Summary) -> Exit:
    """Return the exit code for a run's result."""
    if result.state == states.FAILED:
        # A failure without a project is what ended the run.
        causes = {problem.reason for problem in result.failures if not problem.project}
        if Reason.CONFIGURATION in causes:
            return Exit.USAGE
    return OF_STATE[result.state]


def of_error(error: PypimirrorError) -> Exit:
    """Return the exit code for an error that ended a command."""
    if isinstance(error, ConfigError):
        return Exit.USAGE
    if isinstance(error, LockedError):
        return Exit.LOCKED
    return Exit.STOPPED


def no_mirror(shown: str) -> ConfigError:
    """Return the error of a command that needs a mirror; `shown` is the mirror's name."""
    return ConfigError(f"{shown}: holds no mirror yet; make one with 'pypimirror sync'")
