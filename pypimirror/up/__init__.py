"""`pypimirror up`: the parts of a mirror on one machine, each a child process, kept alive.

Which parts there are is in `parts`, how one is kept alive in `supervisor`, in which order they
start and stop in `machine`. Prefect is started here and spoken to over HTTP, and never imported.
"""
