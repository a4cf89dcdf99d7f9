"""The table of moves, and that it is the only way between states."""

from __future__ import annotations

import itertools

import pytest

from pypimirror.catalog import schema
from pypimirror.catalog.database import Catalog
from pypimirror.catalog.queries import files, projects
from pypimirror.catalog.states import (
    DENIED,
    DUE,
    MOVES,
    OPEN,
    PROVEN,
    IllegalMoveError,
    State,
    word,
)
from pypimirror.domain.model import ProjectName, Reason

#: The numbers are in databases: they never change.
NUMBERS = {
    "wanted": 0,
    "fetched": 1,
    "verified": 2,
    "published": 3,
    "failed": 4,
    "quarantined": 5,
    "withdrawn": 6,
    "linked": 7,
}


def test_numbers_never_change() -> None:
    assert {state.label: state.value for state in State} == NUMBERS


def test_only_what_was_fetched_becomes_verified_and_only_what_was_verified_published() -> None:
    """Promise 1, as far as states go."""
    for state in State:
        assert (State.VERIFIED in MOVES[state]) == (state is State.FETCHED)
        assert (State.PUBLISHED in MOVES[state]) == (state is State.VERIFIED)


def test_only_what_may_be_on_a_page_or_have_bytes_in_place_is_withdrawn() -> None:
    withdrawn = {s for s in State if State.WITHDRAWN in MOVES[s]}
    assert withdrawn == PROVEN | {State.FETCHED, State.LINKED}


def test_every_state_can_be_left_and_published_be_reached_from_it() -> None:
    for start in State:
        reached = {start}
        while more := {t for s in reached for t in MOVES[s]} - reached:
            reached |= more
        assert reached == set(State)


def test_the_sets_of_states_fit_together() -> None:
    assert not DUE & PROVEN
    assert set(State) - {State.PUBLISHED, State.WITHDRAWN, State.LINKED} == OPEN


def in_state(catalog: Catalog, state: State, number: int = 1) -> list[int]:
    with catalog.write() as connection:
        projects.ensure(connection, [ProjectName("six")])
        (row,) = projects.by_name(connection, ["six"])
        base = {"project_id": row.id, "url": "http://127.0.0.1/", "location": None, "size": None}
        names = [{**base, "filename": f"six-{n}.zip"} for n in range(number)]
        files.add(connection, names, 1)
        connection.execute(schema.files.update().values(state=state))
        return [file.id for file in files.of_projects(connection, [row.id])]


@pytest.mark.parametrize(
    ("source", "target"), list(itertools.product(State, State)), ids=lambda state: state.label
)
def test_moves_are_those_of_the_table(catalog: Catalog, source: State, target: State) -> None:
    (number,) = in_state(catalog, source)
    with catalog.write() as connection:
        if target in MOVES[source]:
            files.move(connection, target, [{"id": number}], 77)
        else:
            with pytest.raises(IllegalMoveError, match=target.label):
                files.move(connection, target, [{"id": number}], 77)
            return
    with catalog.read() as connection:
        (row,) = connection.execute(schema.files.select())
    assert (row.state, row.run_id) == (target, 77)


def test_one_illegal_move_undoes_all_of_its_transaction(catalog: Catalog) -> None:
    first, second = in_state(catalog, State.FETCHED, 2)
    with catalog.write() as connection:
        files.move(connection, State.VERIFIED, [{"id": second}], 2)
    with pytest.raises(IllegalMoveError, match="1 of 2"), catalog.write() as connection:
        files.move(connection, State.VERIFIED, [{"id": first}, {"id": second}], 3)
    with catalog.read() as connection:
        states = {row.id: row.state for row in connection.execute(schema.files.select())}
    assert states == {first: State.FETCHED, second: State.VERIFIED}


def test_a_move_sets_what_its_rows_name(catalog: Catalog) -> None:
    ids = in_state(catalog, State.WANTED, 3)
    rows = [{"id": n, "size": n * 10, "sha256": bytes([n])} for n in ids]
    with catalog.write() as connection:
        files.move(connection, State.FETCHED, rows, 2)
        files.move(connection, State.VERIFIED, [], 2)
        found = [(r.id, r.size, r.sha256) for r in connection.execute(schema.files.select())]
    assert found == [(n, n * 10, bytes([n])) for n in ids]


def test_what_an_upstream_keeps_back_has_the_word_of_its_reason() -> None:
    """`backoff.after_failure` writes the reason in front; a proven file may have failed a try."""
    said = f"{Reason.DENIED}: kept back"
    assert word(State.FAILED, said) == DENIED == Reason.DENIED
    assert word(State.PUBLISHED, said) == "published"
    assert word(State.FAILED, "missing: denied: x") == word(State.FAILED, None) == "failed"
