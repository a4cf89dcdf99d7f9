"""On demand, the server's half: it asks the fetcher, a child process, for files that are not held.

`demand` answers requests; `pages` and `files` decide what a client gets, `streaming` sends a file
that is still arriving. `link` has the questions, `fetcher` the process, `figures` the metrics. None
of this is imported when `[on_demand]` is off, and nothing here fetches.
"""
