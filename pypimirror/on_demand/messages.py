"""The messages between the web server and its fetcher: one JSON object a line, in both directions.

The server asks, and gives each question a number. The fetcher may answer a `FileQuestion` with any
number of `Coming`. Then it answers with exactly one of `Here`, `Refused`, `Absent`, `Away` and
`Failed`, which ends the question. Its first line is `Ready`. At the end of its input the fetcher
ends, because the server is gone.

The server starts the fetcher as `python -P -m` `MODULE` `--config FILE --link DESCRIPTOR`. The
descriptor is that of the fetcher's end of a socket pair, which it inherits.

Both sides import this module, so it must stay cheap.
"""

from __future__ import annotations

import msgspec

#: The program of the fetcher.
MODULE = "pypimirror.on_demand.fetcher"


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """The base of all messages."""


# From the server


class PageQuestion(Message, frozen=True, tag="page"):
    """Ask for the page of a project."""

    id: int
    project: str  #: normalised


class IndexQuestion(Message, frozen=True, tag="index"):
    """Ask for the list of all projects."""

    id: int


class FileQuestion(Message, frozen=True, tag="file"):
    """Ask for a file, or for a file's core metadata."""

    id: int
    project: str  #: normalised
    filename: str  #: of core metadata, it ends with ".metadata"


class Used(Message, frozen=True, tag="used"):
    """Tell which files were served since the last such message. It has no answer."""

    files: list[tuple[str, str]]  #: project and file name


# From the fetcher


class Ready(Message, frozen=True, tag="ready"):
    """Questions are answered from now on."""

    version: str  #: of pypimirror


class Here(Message, frozen=True, tag="here"):
    """The requested page or file is here, and verified."""

    id: int
    path: str = (
        ""  #: a file in the store, absolute; for a page, its directory. "": in the mirror's tree
    )
    seconds: float = 0.0  #: how long a page is believed
    warning: str = ""  #: why a page may be old: what the upstream was asked, and how it failed
    held_only: bool = False  #: serve the page of the mirror's tree, which lists held files


class Coming(Message, frozen=True, tag="coming"):
    """A file is being fetched: `received` bytes of it are at the path."""

    id: int
    path: str  #: absolute
    received: int  #: bytes at the path, not yet verified
    size: int | None = None  #: bytes of the whole file; None: unknown
    digests: dict[str, str] = {}  #: claimed digests of the whole file, hex, by algorithm


class Refused(Message, frozen=True, tag="refused"):
    """The configuration does not allow this page or file."""

    id: int
    reason: str


class Absent(Message, frozen=True, tag="absent"):
    """No upstream that may own the project offers this."""

    id: int
    reason: str
    seconds: float = 0.0  #: how long that is believed


class Away(Message, frozen=True, tag="away"):
    """It could not be fetched now."""

    id: int
    reason: str  #: what was tried, and how it failed


class Failed(Message, frozen=True, tag="failed"):
    """The bytes that came were proven wrong. They are in quarantine."""

    id: int
    reason: str


class Counted(Message, frozen=True, tag="counted"):
    """Figures for metrics. It answers nothing."""

    figures: dict[str, float]


FromServer = PageQuestion | IndexQuestion | FileQuestion | Used
Final = Here | Refused | Absent | Away | Failed
FromFetcher = Ready | Here | Coming | Refused | Absent | Away | Failed | Counted

_encode = msgspec.json.Encoder().encode
#: Read one line. They raise `msgspec.ValidationError` and `msgspec.DecodeError`.
from_server = msgspec.json.Decoder(FromServer).decode
from_fetcher = msgspec.json.Decoder(FromFetcher).decode


def line(message: Message) -> bytes:
    """Return the line of a message, with its end."""
    return _encode(message) + b"\n"
