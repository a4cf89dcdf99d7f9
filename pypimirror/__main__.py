"""`python -m pypimirror`: the command line."""

from pypimirror.memory import calm_collector


def main() -> None:
    """Run the command line."""
    calm_collector()
    from pypimirror.cli.main import main

    main()


if __name__ == "__main__":
    main()
