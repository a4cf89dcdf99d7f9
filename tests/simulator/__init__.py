"""The upstream simulator: a real HTTP server on loopback that plays an index, with all faults.

It is the only upstream of this project's tests. Use `Simulator`; `faults` and `wrong_answers` have
the faults.
"""

from tests.simulator.faults import (
    Chunked,
    CloseIdle,
    Drip,
    EndlessChunked,
    Fault,
    Hangup,
    HeaderFlood,
    Hold,
    Latency,
    Longer,
    LyingLength,
    MissingLength,
    Padded,
    Raw,
    Reset,
    Stall,
    Truncate,
)
from tests.simulator.index import Index, IndexFile, IndexProject
from tests.simulator.simulator import Rule, Simulator
from tests.simulator.wire import Request
from tests.simulator.wrong_answers import (
    Corrupt,
    Encoded,
    GzipBomb,
    HtmlError,
    IgnoreRange,
    Locked,
    NotModified,
    OtherFile,
    Redirect,
    RedirectLoop,
    Replace,
    SetHeaders,
    Status,
    WrongRange,
)

__all__ = [
    "Chunked",
    "CloseIdle",
    "Corrupt",
    "Drip",
    "Encoded",
    "EndlessChunked",
    "Fault",
    "GzipBomb",
    "Hangup",
    "HeaderFlood",
    "Hold",
    "HtmlError",
    "IgnoreRange",
    "Index",
    "IndexFile",
    "IndexProject",
    "Latency",
    "Locked",
    "Longer",
    "LyingLength",
    "MissingLength",
    "NotModified",
    "OtherFile",
    "Padded",
    "Raw",
    "Redirect",
    "RedirectLoop",
    "Replace",
    "Request",
    "Reset",
    "Rule",
    "SetHeaders",
    "Simulator",
    "Stall",
    "Status",
    "Truncate",
    "WrongRange",
]
