"""`python -m pypimirror`: the command line."""

from pypimirror.cli.main import main

main()
