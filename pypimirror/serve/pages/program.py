"""The program that makes pages: `python -P -m pypimirror.serve.pages.program CONFIG`.

It reads lines of JSON from standard input, answers each on standard output, and ends when its input
ends; `messages` defines them. Reasons for failures go to standard error. It changes no file.
"""

from __future__ import annotations

from pypimirror.system import abrupt  # itself imports nothing

if __name__ == "__main__":
    abrupt.install(signals=False)

import gc
import gzip
import os
import select
import signal
import sys
import traceback
from pathlib import Path
from typing import BinaryIO

import msgspec

from pypimirror.catalog.database import CatalogError
from pypimirror.config.settings import load
from pypimirror.serve.pages.messages import PageResponse, encode, read_asked
from pypimirror.serve.pages.routes import respond
from pypimirror.serve.pages.site import CatalogAwayError, Site
from pypimirror.serve.pages.visit import Made, Visit
from pypimirror.system import streams

#: Seconds without a request after which the catalog is closed.
_REST = 2.0
#: Level of compression. The highest one takes 2 to 4 times as long, for 3 % of the bytes.
_LEVEL = 5

#: How much lower the priority of this process is: installers come before people.
LOW = 15


def main(config: Path) -> int:
    """Answer until the input ends; return the exit code."""
    os.nice(LOW)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the web server, too
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # other output must not be mixed with answers
    site = Site(load(config), config)
    gc.freeze()  # libraries, which stay
    # The server sends a line when the one before is answered, so no line waits in a buffer.
    while line := sys.stdin.buffer.readline():
        _send(output, answer(site, Visit(read_asked(line), site.config.serve.status)))
        if not select.select([sys.stdin], [], [], _REST)[0]:
            site.reader.rest()
    return 0


def answer(site: Site, visit: Visit) -> Made:
    """Return the page, or a page that says that the catalog cannot be reached."""
    try:
        return respond(site, visit)
    except (CatalogAwayError, CatalogError) as error:
        print(f"pages: {visit.path!r}: {error}", file=sys.stderr)
        return site.away(visit)
    except Exception:  # noqa: BLE001 - one bad page must not end the others
        print(f"pages: {visit.path!r}: {traceback.format_exc()}", file=sys.stderr)
        return site.message(visit, 500, "This page cannot be made. The server's log says why.")


def _send(output: BinaryIO, made: Made) -> None:
    body = gzip.compress(made.body, _LEVEL, mtime=0)
    head: PageResponse = msgspec.structs.replace(made.head, length=len(body))
    output.write(encode(head) + b"\n" + body)
    output.flush()


if __name__ == "__main__":
    streams.prepare()
    sys.exit(main(Path(sys.argv[1])))
