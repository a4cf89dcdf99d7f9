"""The catalog: the one source of truth on what is known, held, proven and published.

This is the only package that knows SQL. `database` opens and migrates the catalog. The modules in
`queries` hold the queries, each a function of an open `Connection`.
"""
