"""`python -m pypimirror`: the command line. Imports nothing before it can be interrupted."""

import sys


def main() -> None:
    """Run the command line."""
    from pypimirror.system import abrupt

    abrupt.install()
    from pypimirror.system import memory, streams

    streams.prepare()
    memory.calm_collector()
    memory.import_msgspec()
    from contextlib import suppress

    from pypimirror.cli import plain

    work = None
    with suppress(Exception):  # `main` meets the same error and reports it
        work = plain.command(sys.argv[1:])  # a sync begins while the rest is imported
    from pypimirror.cli.main import main

    main(work)


if __name__ == "__main__":
    main()
