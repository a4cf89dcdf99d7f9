"""Tables: nothing is cut, whatever there is room for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pypimirror.cli.display import table
from pypimirror.cli.display.table import Cell, Column

COLUMNS = (
    Column("name"),
    Column("extra", 1),
    Column("more", 2, right=True),
    Column("", plain=True),
)
ROWS = [("a-long-name", "something", "1", "x"), ("b", "", "22", Cell("[red]y", "red"))]


def plain(width: int) -> list[str]:
    return [line.plain for line in table.lines(COLUMNS, ROWS, width)]


def test_columns_are_aligned_where_there_is_room() -> None:
    assert plain(80) == [
        "name         extra      more",
        "a-long-name  something     1  x",
        "b                         22  [red]y",
    ]


def test_what_may_be_left_out_is_left_out_in_its_order() -> None:
    assert plain(34) == [
        "name         extra",
        "a-long-name  something  x",
        "b                       [red]y",
    ]
    assert plain(20) == ["name", "a-long-name  x", "b            [red]y"]


def test_a_row_becomes_some_lines_where_it_is_narrow() -> None:
    assert plain(16) == ["a-long-name", "  extra", "something"] or plain(16) == [
        "a-long-name",
        "  extra something",
        "  more 1  x",
        "b",
        "  more 22",
        "  [red]y",
    ]


@given(
    st.lists(
        st.tuples(*[st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]))] * 4),
        max_size=4,
    ),
    st.integers(1, 90),
)
def test_no_cell_that_must_be_there_is_ever_cut(rows: list[tuple[str, ...]], width: int) -> None:
    text = "\n".join(line.plain for line in table.lines(COLUMNS, rows, width))
    for row in rows:
        assert row[0].rstrip() in text
        assert row[3].rstrip() in text


def test_no_rows_are_their_titles() -> None:
    assert [line.plain for line in table.lines(COLUMNS, [], 80)] == ["name"]


def test_what_a_terminal_obeys_in_a_cell_is_shown() -> None:
    rows = [("a\x1b[2Jb\x9b0m\n\u202ec", "", "1", ""), ("d", "", "2", "")]
    assert [line.plain for line in table.lines(COLUMNS, rows, 80)][1:] == [
        r"a\x1b[2Jb\x9b0m\n\u202ec     1",
        "d                            2",
    ]
