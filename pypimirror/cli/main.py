"""The command line: it runs a command and turns errors into messages and exit codes.

Each command imports the heavy modules that it needs, so that `--help` and runs that find nothing
to do start fast.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from errno import EDQUOT, ENOSPC
from typing import NoReturn

from pypimirror.cli import plain
from pypimirror.cli.display.output import err, print_json
from pypimirror.cli.errors import Exit, WrongUse, of_error
from pypimirror.domain.errors import PypimirrorError
from pypimirror.system import abrupt, interrupts, streams
from pypimirror.system.memory import spare_collector
from pypimirror.system.space import remedy

#: Commands that do work: the exit code says how the work ended. All other commands, and any command
#: with `--json`, exist for their output: there the exit code also says whether it could be written.
WORKS = frozenset({"adopt", "deploy", "init", "retry", "serve", "sync", "up", "verify"})


def main(work: Callable[[], object] | None = None) -> NoReturn:
    """Run the command line; the process ends with one of `pypimirror.cli.errors.Exit`.

    `work` is the result of `plain.command`, if that was called already.
    """
    # SIGTERM from a service manager ends a run like Ctrl-C: cleanly, and with a record.
    interrupts.install()
    code = heard(_run(work))
    interrupts.ignore()
    _end(code)


def _end(code: int) -> NoReturn:
    """End the process.

    Python would first free every object, one by one, which takes 0.01 s. That is left out unless
    there are other threads, for which Python waits.
    """
    if threading.active_count() == 1:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):  # `heard` has reported it
                stream.flush()
        os._exit(code)
    spare_collector()
    sys.exit(code)


def heard(code: int) -> int:
    """Report output that could not be written; return the exit code to end with.

    A reader that closes the pipe has read what it wanted: `runs | head -3` is no failure.
    """
    error = streams.lost(sys.stdout)
    if error is None or isinstance(error, BrokenPipeError):
        return code
    answers = "--json" in sys.argv or not WORKS.intersection(sys.argv[1:2])
    if code == Exit.DONE and answers:
        code = Exit.STOPPED
    work = "" if answers else "; the exit code says how the work itself ended"
    _say(f"standard output cannot be written: {error.strerror}{work}")
    return code


def _run(work: Callable[[], object] | None = None) -> int:
    as_json = "--json" in sys.argv
    try:
        result = (work or plain.command(sys.argv[1:]) or _typed())()
    except PypimirrorError as error:
        code = of_error(error)
        return _failed(str(error), code, as_json=as_json)
    except WrongUse as error:
        if as_json:
            return _failed(str(error), Exit.USAGE, as_json=True)
        error.show()
        return Exit.USAGE
    except KeyboardInterrupt:
        abrupt.say("interrupted", Exit.INTERRUPTED)
        return Exit.INTERRUPTED
    except OSError as error:
        if error.filename is None and error.errno not in (ENOSPC, EDQUOT):
            return _fault(error, as_json=as_json)
        where = f"{error.filename}: " if error.filename else ""
        message = f"{where}{error.strerror or error}. {remedy(error)}"
        return _failed(message, Exit.STOPPED, as_json=as_json)
    except Exception as error:  # noqa: BLE001 - a fault of this program must not look like code 1
        return _fault(error, as_json=as_json)
    return result if isinstance(result, int) else Exit.DONE


def _typed() -> Callable[[], object]:
    from pypimirror.cli import commands  # typer takes longer to import than some commands work

    return commands.run


def _fault(error: Exception, *, as_json: bool) -> int:
    if abrupt.is_out_of_memory(error):
        abrupt.say(abrupt.OUT_OF_MEMORY, Exit.STOPPED)
        return Exit.STOPPED
    import traceback

    err.print(traceback.format_exc(), markup=False)
    message = f"a fault of pypimirror itself, please report it: {error!r}"
    return _failed(message, Exit.STOPPED, as_json=as_json)


def _failed(message: str, code: Exit, *, as_json: bool) -> int:
    _say(message)
    if as_json:
        print_json({"error": {"exit": int(code), "message": message}})
    return code


def _say(message: str) -> None:
    err.print(f"pypimirror: {message}", style="red", markup=False)


if __name__ == "__main__":
    main()
