"""`pypimirror doctor`: is everything here that a mirror needs, and does it work?

`examine` does all checks in turn, one module for each group of them. They work on an installation
that does not: a check that raises has failed, and the others go on. Nothing is changed but a
scratch directory, which is removed; no lock is taken; a run may be under way. Knows neither
options nor exit codes.
"""
