#!/usr/bin/env bash
# A program begins a transaction with sqlite3 itself, because importing SQLAlchemy is slow, and lets SQLAlchemy
# 2.1.9 execute a later statement of the same transaction: create_engine(creator=...) returns the
# connection that is already open, and pool_reset_on_return=None asks the pool to leave it alone.
#
# Guess: connect() takes the connection as it is, and the row that was inserted before is there.
# Seen: the first connect() of an engine ends the transaction. To learn what the database can, the dialect
# executes statements on that very connection, and rolls it back afterwards. The row is lost, without an
# error, whatever pool_reset_on_return says. The second connect() of the same engine leaves the next
# transaction alone. So does skip_autocommit_rollback=True, even at the first.
set -euo pipefail
where=$(mktemp -d); trap 'rm -rf "$where"' EXIT
cd "$where"
python3 -m venv venv && venv/bin/python -m pip install -q --disable-pip-version-check sqlalchemy==2.1.9
venv/bin/python - <<'PY'
import sqlite3

import sqlalchemy as sa


def borrowed(**options: object) -> list[tuple[bool, int]]:
    """Whether a transaction goes on after each of two connect(), and the rows that SQLAlchemy sees."""
    raw = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    raw.execute("CREATE TABLE numbers (number INTEGER)")
    engine = sa.create_engine("sqlite://", creator=lambda: raw, poolclass=sa.StaticPool, **options)
    seen = []
    for number in (1, 2):
        raw.execute("BEGIN")
        raw.execute("INSERT INTO numbers VALUES (?)", (number,))
        with engine.connect() as connection:
            goes_on = raw.in_transaction
            rows = connection.scalar(sa.text("SELECT count(*) FROM numbers WHERE number = :n"), {"n": number})
            seen.append((goes_on, rows))
        if raw.in_transaction:
            raw.execute("ROLLBACK")
    return seen


found = {
    "as it is": borrowed(),
    "pool_reset_on_return=None": borrowed(pool_reset_on_return=None),
    "skip_autocommit_rollback=True": borrowed(skip_autocommit_rollback=True, pool_reset_on_return=None),
}
print("SQLAlchemy", sa.__version__, "and SQLite", sqlite3.sqlite_version)
for name, (first, second) in found.items():
    print(f"{name}: first connect(): goes on {first[0]}, {first[1]} row; second: {second[0]}, {second[1]} row")
lost, kept = (False, 0), (True, 1)
assert list(found.values()) == [[lost, kept], [lost, kept], [kept, kept]], "that has changed"
PY
