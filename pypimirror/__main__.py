"""`python -m pypimirror`: the command line. Imports nothing before it can be interrupted."""

import sys


def main() -> None:
    """Run the command line."""
    from pypimirror.system import abrupt

    abrupt.install()
    from pypimirror.system import streams
    from pypimirror.system.memory import calm_collector

    streams.prepare()
    calm_collector()
    from pypimirror.cli import idle

    code = idle.attempt(sys.argv[1:])
    if code is not None:
        if streams.lost(sys.stdout) is not None:
            from pypimirror.cli.main import heard

            code = heard(code)
        sys.exit(code)
    if idle.is_inline_sync(sys.argv[1:]):
        from pypimirror.system.children import start_early

        start_early("pypimirror.download.worker")
    from pypimirror.cli.main import main

    main()


if __name__ == "__main__":
    main()
