"""`pypimirror up`: run the parts of a mirror on one machine, each as a child process.

`parts` says which parts there are, `supervisor` keeps one of them alive, and `everything` starts
and stops them in order. Prefect is such a part: it is asked over HTTP and never imported.
"""
