"""The command line: its commands, and how each ends.

Heavy modules are imported by the commands that need them, so that `--help` and runs that find
nothing to do start fast.
"""

from __future__ import annotations

import sys
import traceback
from errno import EDQUOT, ENOSPC

import typer

from pypimirror.cli.app import app as app
from pypimirror.cli.commands import inspecting, mirroring, operating, quarantining
from pypimirror.cli.display.output import err, print_json
from pypimirror.cli.errors import Exit, of_error
from pypimirror.domain.model import PypimirrorError
from pypimirror.system import abrupt, interrupts, streams
from pypimirror.system.space import remedy

#: The groups of commands, in the order of `--help`; to import them is to have them.
COMMANDS = (mirroring, inspecting, operating, quarantining)

#: Commands whose exit code tells what became of their work. That of all others, and of any with
#: `--json`, also tells whether the answer was heard: to answer is all that they do.
WORKS = frozenset({"adopt", "deploy", "init", "retry", "serve", "sync", "up", "verify"})

#: Wrong use of a command; which class that is depends on whether typer brings its own click.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]


def main() -> None:
    """Run the command line; the process ends with one of `pypimirror.cli.errors.Exit`."""
    # A service manager's SIGTERM ends a run as Ctrl-C does: cleanly, and recorded.
    interrupts.install()
    code = heard(_run())
    interrupts.ignore()
    sys.exit(code)


def heard(code: int) -> int:
    """Tell where the output was lost, and return the exit code that this leaves.

    A reader that goes has heard what it wanted to: `runs | head -3` is no failure.
    """
    error = streams.lost(sys.stdout)
    if error is None or isinstance(error, BrokenPipeError):
        return code
    answers = "--json" in sys.argv or not WORKS.intersection(sys.argv[1:2])
    if code == Exit.DONE and answers:
        code = Exit.STOPPED
    work = "" if answers else "; the exit code tells how the work itself ended"
    _say(f"standard output cannot be written: {error.strerror}{work}")
    return code


def _run() -> int:
    as_json = "--json" in sys.argv
    try:
        result = app(standalone_mode=False)
    except PypimirrorError as error:
        code = of_error(error)
        return _failed(str(error), code, as_json=as_json)
    except UsageError as error:
        if as_json:
            return _failed(str(error), Exit.USAGE, as_json=True)
        error.show()  # type: ignore[attr-defined]
        return Exit.USAGE
    except (KeyboardInterrupt, typer.Abort):
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


def _fault(error: Exception, *, as_json: bool) -> int:
    if abrupt.is_out_of_memory(error):
        abrupt.say(abrupt.OUT_OF_MEMORY, Exit.STOPPED)
        return Exit.STOPPED
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
