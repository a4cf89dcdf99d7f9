"""How each kind of database is opened: settings, how a transaction begins, and its errors.

There is one writer at a time on both kinds. A writing transaction takes a lock when it begins, so
it never fails half-way because of another one, and no data that it has read changes. SQLite has
such a lock. On PostgreSQL it is an advisory lock, for which readers need not wait.

If a process is stopped in the middle of a writing transaction, PostgreSQL ends the transaction
before others give up waiting for it. SQLite cannot do this.
"""
