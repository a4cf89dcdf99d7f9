"""`pypimirror doctor`: checks that everything that a mirror needs is there and works.

`examine` runs all checks; each group of checks has a module. The checks also work on a broken
installation: a check that raises has failed, and the others go on. They take no lock, so a run may
be under way. They change nothing but a scratch directory, which they remove. Options and exit
codes are known only to the command.
"""
