"""An amended root index is, byte for byte, the one that would be rendered whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.render import amend
from pypimirror.render.amend import AmendError, amended
from pypimirror.render.pages import RootEntry
from pypimirror.render.rendering import ROOT_FORMS, RootForm, root

forms = pytest.mark.parametrize("form", list(ROOT_FORMS.values()), ids=list(ROOT_FORMS))

#: From so few signs that many are the beginnings of others, and all that sort about a hyphen.
names = st.from_regex(r"[a0](-?[ab0]){0,4}", fullmatch=True)
serials = st.none() | st.integers(0, 10**18 - 1)


def whole(
    form: RootForm, listed: dict[str, int | None], serial: int | None, api: tuple[int, int] = (1, 4)
) -> bytes:
    entries = [RootEntry(name, listed[name]) for name in sorted(listed, key=str.encode)]
    return b"".join(root(form, entries, api_version=api, serial=serial))


def changed(
    form: RootForm,
    old: bytes,
    changes: dict[str, RootEntry | None],
    serial: int | None,
    api: tuple[int, int] = (1, 4),
) -> bytes:
    return b"".join(amended(form, old, changes, api_version=api, serial=serial))


@forms
@given(
    before=st.dictionaries(names, serials),
    removed=st.sets(names),
    put=st.dictionaries(names, serials),
    old_serial=serials,
    new_serial=serials,
    chunk=st.sampled_from([1, 7, 1 << 20]),
)
def test_whatever_changes_it_is_as_if_rendered_whole(
    form: RootForm,
    before: dict[str, int | None],
    removed: set[str],
    put: dict[str, int | None],
    old_serial: int | None,
    new_serial: int | None,
    chunk: int,
) -> None:
    after = {name: serial for name, serial in before.items() if name not in removed} | put
    changes: dict[str, RootEntry | None] = dict.fromkeys(removed)
    changes |= {name: RootEntry(name, serial) for name, serial in put.items()}
    old = whole(form, before, old_serial)
    usual, amend._CHUNK = amend._CHUNK, chunk
    try:
        found = changed(form, old, changes, new_serial)
    finally:
        amend._CHUNK = usual
    assert found == whole(form, after, new_serial)


@forms
@given(before=st.dictionaries(names, serials), serial=serials)
def test_all_may_go_and_come_back(
    form: RootForm, before: dict[str, int | None], serial: int | None
) -> None:
    old, empty = whole(form, before, serial), whole(form, {}, serial)
    assert changed(form, old, dict.fromkeys(before), serial) == empty
    back = {name: RootEntry(name, number) for name, number in before.items()}
    assert changed(form, empty, dict(back), serial) == old


@forms
def test_nothing_that_changes_changes_nothing(form: RootForm) -> None:
    old = whole(form, {"six": 3, "zope": None}, 5)
    assert changed(form, old, {}, 5) == old


@forms
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda old: b"", id="empty"),
        pytest.param(lambda old: old[1:], id="without its first byte"),
        pytest.param(lambda old: old[:-1], id="without its last byte"),
        pytest.param(lambda old: old + b"\n", id="with a byte more"),
        pytest.param(lambda old: old.replace(b"six", b"Six"), id="another entry"),
        pytest.param(lambda old: old.replace(b"1.4", b"1.3"), id="of another API version"),
        pytest.param(lambda old: old.replace(b"</a>", b"</a >").replace(b"}", b" }"), id="spaced"),
        pytest.param(lambda old: old.replace(b"<a", b"<b><a").replace(b'{"n', b' {"n'), id="more"),
    ],
)
def test_what_it_was_not_taken_for_is_refused_before_the_first_byte(
    form: RootForm, spoil: object
) -> None:
    assert callable(spoil)
    old = spoil(whole(form, {"attrs": 1, "six": 3, "zope": 2}, 5))
    with pytest.raises(AmendError):
        amended(form, old, {"six": RootEntry("six", 4)}, api_version=(1, 4), serial=6)


@forms
def test_another_api_version_is_refused(form: RootForm) -> None:
    old = whole(form, {"six": 3}, 5, api=(1, 1))
    with pytest.raises(AmendError, match="its head"):
        amended(form, old, {}, api_version=(1, 3), serial=5)


@forms
def test_few_changes_look_at_few_entries(form: RootForm) -> None:
    """The cost grows with what changes: an index a hundred times as long is hardly more work."""

    class Counted(bytes):
        looks = 0

        def find(self, *arguments: object) -> int:  # type: ignore[override]
            Counted.looks += 1
            return super().find(*arguments)  # type: ignore[arg-type]

    def looks(count: int) -> int:
        old = Counted(whole(form, {f"project-{n}": n for n in range(count)}, count))
        Counted.looks = 0
        amended(form, old, {"project-5": None}, api_version=(1, 4), serial=count)
        return Counted.looks

    assert looks(100_000) < looks(1_000) + 20
