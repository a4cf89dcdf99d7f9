"""How an attempt to fetch something fails, and whether to try again.

Foreign errors (sockets, TLS, parsers) are translated into `FetchError` where they occur.
"""

from __future__ import annotations

import errno
import os
from enum import Enum

from pypimirror.domain.model import PypimirrorError, Reason
from pypimirror.system.disk_errors import IN_THE_WAY, is_of_path
from pypimirror.system.space import remedy

#: HTTP statuses after which another attempt may succeed, besides all of 5xx.
RETRIED_STATUSES = frozenset({408, 425, 429})
#: HTTP statuses that ask for fewer requests: the host gets a pause.
THROTTLING_STATUSES = frozenset({429, 503})
#: HTTP statuses by which a policy keeps back a single file of a readable page: forbidden, or
#: unavailable for legal reasons.
DENYING_STATUSES = frozenset({403, 451})
#: HTTP statuses of something that does not exist.
MISSING_STATUSES = frozenset({404, 410})


class Again(Enum):
    """Whether another attempt at the same address makes sense."""

    NEVER = "never"
    ONCE = "once"  #: the network may have corrupted it, but a lasting fault is more likely
    ALWAYS = "always"


class FetchError(PypimirrorError):
    """An attempt that failed, with its `Reason`."""

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        again: Again = Again.NEVER,
        throttled: bool = False,
        retry_after: float | None = None,
        status: int = 0,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.again = again
        self.throttled = throttled  #: the host asks for a pause
        self.retry_after = retry_after  #: seconds of that pause
        self.status = status  #: the HTTP status of the answer, if the status is the failure


def bad_response(message: str) -> FetchError:
    """Return the failure for an answer that breaks HTTP."""
    return FetchError(Reason.BAD_RESPONSE, message, again=Again.ONCE)


def status_failure(
    status: int,
    url: str,
    retry_after: float | None = None,
    *,
    said: str = "",
    of_file: bool = False,
) -> FetchError:
    """Return the failure for an answer with an unwanted status; `said` is the reason in it."""
    quoted = f' The answer says: "{said}".' if said else ""
    if status in MISSING_STATUSES:
        return FetchError(
            Reason.MISSING, f"{url} is not there (status {status}).{quoted}", status=status
        )
    if of_file and status in DENYING_STATUSES:
        return FetchError(
            Reason.DENIED,
            f"{url} is kept back by the upstream (status {status}).{quoted}",
            status=status,
        )
    if status in (401, 403):
        return FetchError(
            Reason.HTTP_STATUS,
            f"{url} may not be read (status {status}).{quoted} If it needs a login, give "
            "`username` and `password`, or `token`, of the [[upstream]], or put it into a netrc "
            'file; if pip has it on this machine, `login = "pip"` is enough.',
            status=status,
        )
    if 200 <= status < 400:
        return bad_response(f"{url} answered with status {status}, which nobody asked for.")
    retried = status in RETRIED_STATUSES or status >= 500
    return FetchError(
        Reason.HTTP_STATUS,
        f"{url} answered with status {status}.{quoted}",
        again=Again.ALWAYS if retried else Again.NEVER,
        throttled=status in THROTTLING_STATUSES,
        retry_after=retry_after,
        status=status,
    )


def disk_failure(error: OSError, path: str) -> FetchError:
    """Return the failure for a file that cannot be written.

    If something in its place causes the error, and not the disk, only this file fails.
    """
    said = f"{path} cannot be written: {error.strerror or error}. {remedy(error, path)}"
    is_in_the_way = isinstance(error, IN_THE_WAY) or error.errno == errno.EPERM
    if is_in_the_way and is_of_path(error, os.path.dirname(path)):  # noqa: PTH120
        return FetchError(Reason.FOREIGN, f"{said} Move away what is there.")
    return FetchError(Reason.DISK, said)
