"""Groups failures by cause: one cause is one thing to understand and to fix. No I/O.

Two failures have the same cause if stage and reason are the same, and their messages differ only
in names, addresses, numbers and digests. A failure is left out if the message on the whole run
quotes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from msgspec import Struct

from pypimirror.domain.model import Stage

Row = tuple[str, str, str, str, str]  #: stage, project, file, reason, message

#: How many names to show for one cause.
_NAMED = 3

#: What may differ within one cause: the path of an address, digests and numbers. An HTTP status
#: may not.
_PATH = re.compile(r"(?<=://)([^/\s'\"]+)/[^\s'\"]*")
_NUMBER = re.compile(r"(?<!status )(?<![\w.])(?:[0-9a-f]{32,}|\d+)(?![\w.])")


class Group(Struct, frozen=True):
    """The failures of one cause, as they are shown."""

    text: str  #: the cause, in one line
    number: int = 1  #: how many failures have this cause
    names: str = ""  #: the first files or projects, if there are several


def grouped(rows: Iterable[Row]) -> list[Group]:
    """Group the failures of a run by cause, in the order of the first failure of each."""
    found: dict[tuple[str, str, str], list[Row]] = {}
    rows = list(rows)
    whole = [(row[3], row[4]) for row in rows if not row[1] and not row[2]]
    for row in rows:
        quoted = row[4].rstrip(".")
        if row[1] and any(row[3] == reason and quoted in said for reason, said in whole):
            continue
        stage, project, file, reason, message = row
        for name in filter(None, (file, project)):
            message = message.replace(name, "…")
        cause = _NUMBER.sub("…", _PATH.sub(r"\1/…", message))
        found.setdefault((stage, reason, cause), []).append(row)
    return [_group_of(group) for group in found.values()]


def _group_of(group: list[Row]) -> Group:
    if len(group) == 1:
        return Group(line(*group[0]))
    stage, project, file, reason, message = group[0]
    things = list(dict.fromkeys(row[2] or row[1] for row in group))
    what = "files" if file else "projects"
    # If only its attestation fails, a file is mirrored nevertheless.
    lost = stage == Stage.DOWNLOAD and "attestation" not in message
    fate = "are not mirrored" if lost else "failed"
    thing = file or project
    if thing and message.startswith(f"{thing}: "):  # the names come below
        message = message.removeprefix(f"{thing}: ")
    example = (
        ""
        if all(row[4] == group[0][4] for row in group)
        else " (This is the message of the first.)"
    )
    more = f" and {len(things) - _NAMED} more" if len(things) > _NAMED else ""
    return Group(
        f"{stage}: {reason}: {len(group)} {what} {fate}: {message}{example}",
        len(group),
        ", ".join(things[:_NAMED]) + more,
    )


def line(stage: str, project: str, file: str, reason: str, message: str) -> str:
    """Return a failure as one line. It gets the thing's name if the message does not have it."""
    thing = file or project
    return f"{stage}: {reason}: {'' if thing in message else f'{thing}: '}{message}"
