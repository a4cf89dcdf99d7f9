#!/usr/bin/env bash
# A table has a row for each thing that a worker has in hand. Whoever asks for a thing takes the row over,
# but only if its worker has ended. In SQL: INSERT ... ON CONFLICT DO UPDATE ... WHERE NOT EXISTS (a worker of
# that id who works). SQLAlchemy 2.1.9 writes this statement, with exists() in the condition.
#
# Guess: the subquery is about the row in conflict, as exists() is in a SELECT or an UPDATE: SQLAlchemy
# correlates it with the statement around it.
# Seen: it does not. It puts the target table into the subquery's own FROM. So the condition asks
# whether any row has a worker who works, and a dead worker's row is taken over only once all others
# have ended, too. Nothing warns, and with one row in the table it works. correlate() changes nothing.
set -euo pipefail
where=$(mktemp -d); trap 'rm -rf "$where"' EXIT
cd "$where"
python3 -m venv venv && venv/bin/python -m pip install -q --disable-pip-version-check sqlalchemy==2.1.9
venv/bin/python - <<'PY'
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

metadata = sa.MetaData()
things = sa.Table("things", metadata, sa.Column("name", sa.Text, primary_key=True), sa.Column("worker", sa.Integer))
workers = sa.Table("workers", metadata, sa.Column("id", sa.Integer, primary_key=True))


def is_taken_over(others: list[dict[str, object]], condition: sa.ColumnElement[bool]) -> bool:
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(workers), [{"id": 2}, {"id": 3}])  # worker 1 has ended
        connection.execute(sa.insert(things), [{"name": "left", "worker": 1}, *others])
        statement = insert(things).values(name="left", worker=3)
        statement = statement.on_conflict_do_update(
            index_elements=[things.c.name], set_={"worker": 3}, where=condition
        )
        return connection.execute(statement).rowcount == 1


works = sa.exists().where(workers.c.id == things.c.worker)
other = [{"name": "other", "worker": 2}]
seen = {
    "alone": is_taken_over([], ~works),
    "beside another's thing": is_taken_over(other, ~works),
    "the same with correlate()": is_taken_over(other, ~works.correlate(things)),
    "the same with NOT IN": is_taken_over(other, things.c.worker.not_in(sa.select(workers.c.id))),
}
print("SQLAlchemy", sa.__version__)
print("\n".join(f"a dead worker's thing is taken over, {name}: {value}" for name, value in seen.items()))
assert list(seen.values()) == [True, False, False, True], "that has changed"
PY
