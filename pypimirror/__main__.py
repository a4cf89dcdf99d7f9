"""`python -m pypimirror`: the command line. Imports nothing before it can be interrupted."""


def main() -> None:
    """Run the command line."""
    from pypimirror.system import abrupt

    abrupt.install()
    from pypimirror.system import streams
    from pypimirror.system.memory import calm_collector

    streams.prepare()
    calm_collector()
    from pypimirror.cli.main import main

    main()


if __name__ == "__main__":
    main()
