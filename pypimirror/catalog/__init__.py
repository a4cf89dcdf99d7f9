"""The catalog: the one source of truth on what is known, held, proven and published.

The only package that knows SQL. `database` opens and migrates it; `projects`, `files` and `runs`
hold the queries, each a function of an open `Connection`.
"""
