"""The decisions of discovery, rule by rule, and what they can never be."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypimirror.catalog.records import FileRecord
from pypimirror.catalog.states import DUE, PROVEN, Cause, State
from pypimirror.domain.model import Claim, File, Problem, ProjectPage, ProjectStatus, Reason
from pypimirror.pipeline.discover.decisions.comparing import believed
from pypimirror.pipeline.discover.decisions.decide import Decision, columns, decide
from pypimirror.pipeline.discover.decisions.merging import Terms
from pypimirror.verify.proof import Proof, strongest

A, B = "a" * 64, "b" * 64
TERMS = Terms(owner="own")


def offered(name: str = "six-1.zip", **changes: Any) -> File:
    values = {"url": f"http://127.0.0.1/{name}", "digests": {"sha256": A}, "size": 3, **changes}
    return File(name, **values)


#: States in which the mirror has committed itself to one digest.
PINNED = PROVEN | {State.WITHDRAWN}


def held(state: State, file: File | None = None, **changes: Any) -> FileRecord:
    """The row that `file` has left in a state."""
    file = file or offered()
    source = TERMS.owner if file.digests else None
    row: dict[str, Any] = {
        "id": 1,
        "proof": Proof.DIGEST if state in PINNED else None,
        "proof_algorithm": strongest(file.digests) if state in PINNED else None,
        **columns(file, file.digests, source, None),
    }
    return recorded(filename=file.filename, state=state, **(row | changes))


def recorded(**values: Any) -> FileRecord:
    """A file as the catalog has it, null where nothing is said."""
    return FileRecord(**(dict.fromkeys(FileRecord.__struct_fields__) | values))


def run(
    *files: File,
    have: FileRecord | None = None,
    selected: bool = True,
    others: tuple[Claim, ...] = (),
    terms: Terms = TERMS,
    **page: Any,
) -> Decision:
    known = {have.filename: have} if have else {}
    pooled = {file.filename: others for file in files}
    found = ProjectPage("six", "six", files=files, **page)
    return decide(found, known, [selected] * len(files), {}, pooled, terms)


NOTHING = Decision()


def test_rule_1_a_file_not_selected_is_not_recorded() -> None:
    assert run(offered(), selected=False) == NOTHING


@pytest.mark.parametrize("state", list(State))
def test_rule_1_a_file_not_selected_any_more_is_gone_by_selection(state: State) -> None:
    decision = run(offered(), have=held(state), selected=False)
    assert decision == Decision(gone={Cause.SELECTION: [1]})


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("name", ["six-1.zip", f"six-{'1' * 200}.zip"])
def test_rule_2_a_refused_file_stays_as_it_is(state: State, name: str) -> None:
    """Also where its name was cut short for the message."""
    from pypimirror.domain.filenames import printable

    problem = Problem(Reason.BAD_DIGEST, "…", "six", printable(name))
    decision = run(have=held(state, offered(name)), problems=(problem,))
    assert decision == Decision(refused=[problem])


def test_rule_2_a_refused_file_that_is_unknown_is_only_refused() -> None:
    problem = Problem(Reason.UNSAFE_URL, "…", "six", "six-9.zip")
    assert run(problems=(problem,)) == Decision(refused=[problem])


@pytest.mark.parametrize("state", sorted(PINNED))
@pytest.mark.parametrize(
    "digests", [{"sha256": B}, {"sha256": B, "md5": "0" * 32}, {"sha256": A, "md5": "1" * 32}]
)
def test_rule_4_a_claim_that_contradicts_what_was_proven_is_refused(
    state: State, digests: dict[str, str]
) -> None:
    have = held(state, offered(digests={"sha256": A, "md5": "0" * 32}))
    decision = run(offered(digests=digests, yanked="x"), have=have)
    (problem,) = decision.refused
    assert problem.reason is Reason.DIGEST_CHANGED
    assert problem.file == "six-1.zip"
    assert decision == Decision(refused=[problem], found=1)


@pytest.mark.parametrize("state", sorted(PROVEN))
@pytest.mark.parametrize(
    "change",
    [
        {"yanked": "bad"},
        {"requires_python": ">=3"},
        {"upload_time": "2020-01-01T00:00:00Z"},
        {"url": "http://127.0.0.1/elsewhere/six-1.zip"},
        {"provenance": "http://127.0.0.1/p"},
        {"extra": {"new": 1}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_rule_4_all_else_is_taken_over_without_a_download(
    state: State, change: dict[str, Any]
) -> None:
    decision = run(offered(**change), have=held(state))
    (changed,) = decision.changed
    assert set(changed) == {"id", *change}
    assert decision.moved == decision.gone == {}
    assert decision.reused == 1


@pytest.mark.parametrize("state", sorted(PINNED))
def test_rule_4_what_was_proven_is_not_overwritten_by_claims(state: State) -> None:
    file = offered(digests={"sha256": A, "sha512": "1" * 128}, size=99)
    decision = run(file, have=held(state))
    assert not any({"sha256", "size", "digests"} & set(row) for row in decision.changed)
    assert decision.refused == []


@pytest.mark.parametrize("state", sorted(PROVEN))
def test_rule_4_a_file_that_lost_its_digest_upstream_stays(state: State) -> None:
    decision = run(offered(digests={}), have=held(state))
    assert decision.refused == []
    assert decision.gone == {}


@pytest.mark.parametrize(("withdrawn_at", "target"), [(5.0, State.FETCHED), (None, State.WANTED)])
def test_rule_5_offered_again_its_bytes_are_verified_again_or_wanted(
    withdrawn_at: float | None, target: State
) -> None:
    have = held(State.WITHDRAWN, removal_cause=Cause.UPSTREAM, withdrawn_at=withdrawn_at)
    decision = run(offered(), have=have)
    assert decision.moved == {target: [1]}
    assert decision.back == [1]


def test_rule_5_offered_again_with_another_digest_it_stays_withdrawn() -> None:
    have = held(State.WITHDRAWN, removal_cause=Cause.UPSTREAM, withdrawn_at=5.0)
    decision = run(offered(digests={"sha256": B}), have=have)
    assert [problem.reason for problem in decision.refused] == [Reason.DIGEST_CHANGED]
    assert decision.moved == {}
    assert decision.back == []


def test_rule_6_a_new_file_is_wanted() -> None:
    decision = run(offered())
    assert [row["filename"] for row in decision.new] == ["six-1.zip"]
    assert decision.new[0]["sha256"] == bytes.fromhex(A)
    assert decision.found == 1


def test_rule_6_without_a_digest_it_is_wanted_and_nobody_vouches_for_it() -> None:
    (row,) = run(offered(digests={})).new
    assert (row["sha256"], row["digests"], row["proof_source"]) == (None, None, None)


def test_rule_3_what_another_source_claims_is_checked_too_and_named() -> None:
    (row,) = run(offered(digests={}), others=(Claim("other", {"sha256": A}),)).new
    assert (row["sha256"], row["proof_source"]) == (bytes.fromhex(A), "other")


def test_rule_3_the_owner_vouches_where_its_claim_is_as_strong() -> None:
    (row,) = run(offered(), others=(Claim("other", {"sha256": A}),)).new
    assert row["proof_source"] == "own"
    (row,) = run(offered(digests={"md5": "0" * 32}), others=(Claim("other", {"sha256": A}),)).new
    assert row["proof_source"] == "other"


@pytest.mark.parametrize("have", [None, held(State.WANTED), held(State.PUBLISHED)])
def test_rule_3_sources_that_contradict_each_other_are_refused_and_both_named(
    have: FileRecord | None,
) -> None:
    decision = run(offered(), others=(Claim("other", {"sha256": B}),), have=have)
    (problem,) = decision.refused
    assert problem.reason is Reason.DIGEST_CONFLICT
    assert all(word in problem.message for word in ("own", A, "other", B))
    assert decision == Decision(refused=[problem], found=1)


@pytest.mark.parametrize(("believed", "digest"), [("own", A), ("other", B)])
def test_rule_3_the_authoritative_source_is_believed(believed: str, digest: str) -> None:
    terms = Terms(owner="own", authoritative=believed)
    (row,) = run(offered(), others=(Claim("other", {"sha256": B}),), terms=terms).new
    assert (row["sha256"], row["proof_source"]) == (bytes.fromhex(digest), believed)


@pytest.mark.parametrize("state", sorted(PROVEN))
def test_rule_4_a_changed_digest_replaces_where_the_configuration_says_so(state: State) -> None:
    terms = Terms(owner="own", replace_changed=True)
    decision = run(offered(digests={"sha256": B}), have=held(state), terms=terms)
    assert decision.moved == {State.WANTED: [1]}
    assert decision.changed == [{"id": 1, "sha256": bytes.fromhex(B), "proof": None}]
    assert decision.refused == []


@pytest.mark.parametrize("state", sorted(PROVEN))
@pytest.mark.parametrize("proof", [Proof.STRUCTURE, Proof.PARTIAL])
def test_rule_4_a_digest_that_comes_late_beats_a_proof_by_structure(
    state: State, proof: Proof
) -> None:
    have = held(state, proof=proof, proof_source=None)
    decision = run(offered(digests={"sha256": B}), have=have)
    assert decision.moved == {State.WANTED: [1]}
    assert decision.refused == []


@pytest.mark.parametrize("state", sorted(set(State) - PINNED))
def test_rule_6_what_is_not_yet_proven_takes_the_newest_claims(state: State) -> None:
    decision = run(offered(digests={"sha256": B}, size=9), have=held(state))
    assert decision.changed == [{"id": 1, "sha256": bytes.fromhex(B), "size": 9}]
    assert decision.anew == ([1] if state in DUE else [])
    assert decision.refused == []


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize(
    ("status", "cause"),
    [(ProjectStatus.ACTIVE, Cause.UPSTREAM), (ProjectStatus.QUARANTINED, Cause.QUARANTINE)],
)
def test_rule_7_a_file_not_offered_any_more_is_gone(
    state: State, status: ProjectStatus, cause: Cause
) -> None:
    decision = run(have=held(state), status=status)
    assert decision == Decision(gone={cause: [1]})


def test_rule_7_a_cause_that_changes_is_noted_and_one_that_stays_is_not() -> None:
    assert run(have=held(State.WITHDRAWN, removal_cause=Cause.UPSTREAM)) == NOTHING
    decision = run(have=held(State.WITHDRAWN, removal_cause=Cause.QUARANTINE))
    assert decision == Decision(gone={Cause.UPSTREAM: [1]})


def test_locations_are_for_files_that_are_new_and_stay_for_those_that_are_placed() -> None:
    page = ProjectPage("six", "six", files=(offered(),))
    where = {"six-1.zip": "packages/aa/bb/cc"}
    assert decide(page, {}, [True], where, {}, TERMS).new[0]["location"] == "packages/aa/bb/cc"
    have = held(State.PUBLISHED)
    assert decide(page, {"six-1.zip": have}, [True], where, {}, TERMS).changed == []


# What decisions can never be

NAMES = ["six-1.zip", "six-2.zip", "six-3.zip"]
digests = st.sampled_from([{}, {"sha256": A}, {"sha256": B}, {"md5": "0" * 32}])
files = st.builds(
    offered,
    name=st.just("x"),
    digests=digests,
    yanked=st.sampled_from([None, "", "why"]),
    size=st.sampled_from([None, 3, 4]),
)


@st.composite
def situations(draw: st.DrawFn) -> tuple[ProjectPage, dict[str, FileRecord], list[bool]]:
    on_page = draw(st.lists(st.sampled_from(NAMES), unique=True))
    page = ProjectPage(
        "six",
        "six",
        files=tuple(
            offered(name, digests=draw(digests), yanked=draw(st.sampled_from([None, "", "why"])))
            for name in on_page
        ),
        problems=tuple(
            Problem(Reason.BAD_DIGEST, "…", "six", name)
            for name in draw(st.lists(st.sampled_from(NAMES), unique=True))
            if name not in on_page
        ),
        status=draw(st.sampled_from(list(ProjectStatus))),
    )
    have = {}
    for number, name in enumerate(draw(st.lists(st.sampled_from(NAMES), unique=True)), start=1):
        gone = draw(st.sampled_from([None, *Cause]))
        at = draw(st.sampled_from([None, 5.0]))
        state = draw(st.sampled_from(list(State)))
        claimed = draw(st.sampled_from([{"sha256": A}, {"sha256": B}, {"md5": "0" * 32}]))
        if state in PINNED:
            claimed = {"sha256": A, **claimed}
        file = offered(name, digests=claimed)
        have[name] = held(state, file, id=number, removal_cause=gone, withdrawn_at=at)
    return page, have, draw(st.lists(st.booleans(), min_size=len(on_page), max_size=len(on_page)))


WITHHELD = {Cause.QUARANTINE, Cause.DROPPED}


def ids_of(decision: Decision) -> set[int]:
    return {number for numbers in decision.gone.values() for number in numbers}


@given(situations())
def test_a_file_that_is_offered_and_selected_is_never_withdrawn(
    situation: tuple[ProjectPage, dict[str, FileRecord], list[bool]],
) -> None:
    page, have, selected = situation
    wanted = {f.filename for f, flag in zip(page.files, selected, strict=True) if flag}
    refused = {problem.file for problem in page.problems}
    gone = ids_of(decide(page, have, selected, {}, {}, TERMS))
    # What was withheld and comes back with another digest is on no page, and does not come back.
    named = {
        name
        for name in (wanted | refused) & have.keys()
        if have[name].removal_cause not in WITHHELD
    }
    assert not gone & {have[name].id for name in named}


@given(situations())
def test_a_digest_that_was_proven_is_never_replaced(
    situation: tuple[ProjectPage, dict[str, FileRecord], list[bool]],
) -> None:
    page, have, selected = situation
    decision = decide(page, have, selected, {}, {}, TERMS)
    pinned = {file.id for file in have.values() if file.state in PINNED}
    for row in decision.changed:
        assert row["id"] not in pinned or not {"sha256", "digests", "size"} & set(row)
    claims = {file.filename: file.digests for file in page.files}
    touched = {row["id"] for row in decision.changed} | set(decision.back)
    for name, file in have.items():
        claim = claims.get(name, {}).get("sha256")
        if file.id in pinned and file.sha256 and claim and claim != file.sha256.hex():
            assert file.id not in touched
            assert all(file.id not in moved for moved in decision.moved.values())


@given(situations())
def test_deciding_twice_decides_nothing_new(
    situation: tuple[ProjectPage, dict[str, FileRecord], list[bool]],
) -> None:
    page, have, selected = situation
    first = decide(page, have, selected, {}, {}, TERMS)
    after = dict(have)
    by_id = {file.id: name for name, file in have.items()}

    def put(number: int, **values: Any) -> None:
        from msgspec.structs import replace

        after[by_id[number]] = replace(after[by_id[number]], **values)

    for row in first.changed:
        put(row["id"], **{key: value for key, value in row.items() if key != "id"})
    for state, numbers in first.moved.items():
        for number in numbers:
            put(number, state=state)
    for cause, numbers in first.gone.items():
        for number in numbers:
            put(number, removal_cause=cause)
    for number in first.back:
        put(number, removal_cause=None)
    for number, row in enumerate(first.new, start=100):
        after[row["filename"]] = recorded(id=number, state=State.WANTED, **row)
    second = decide(page, after, selected, {}, {}, TERMS)
    assert second.new == second.back == []
    if not first.moved:  # a file that is wanted again takes the newest claims
        assert second.changed == []
    assert second.moved == second.gone == {}
    assert second.refused == first.refused


@pytest.mark.parametrize("state", sorted(PINNED))
@pytest.mark.parametrize("replace", [False, True])
def test_rule_4_another_size_is_another_file_where_no_digest_says_otherwise(
    state: State, replace: bool
) -> None:
    """The upstream does not tell digests any more, and the file that it had was proven by one."""
    later = offered(digests={}, size=4)
    decision = run(later, have=held(state), terms=Terms("own", replace_changed=replace))
    if replace:
        assert not decision.refused
        assert decision.moved == {State.WANTED: [1]}
        assert decision.changed[0]["size"] == 4 and decision.changed[0]["proof"] is None
    else:
        (problem,) = decision.refused
        assert problem.reason is Reason.DIGEST_CHANGED
        assert "3 bytes" in problem.message and "4" in problem.message
        assert not decision.changed and not decision.moved


@pytest.mark.parametrize("proof", [Proof.STRUCTURE, Proof.PARTIAL])
def test_rule_4_another_size_of_a_file_without_digests_is_wanted_anew(proof: Proof) -> None:
    """What is held has a sha256 by then: the mirror's own."""
    have = held(State.PUBLISHED, offered(digests={}), proof=proof, sha256=bytes.fromhex(A))
    later = offered(digests={}, size=4, upload_time="2025-02-02T00:00:00Z")
    decision = run(later, have=have)
    assert decision.moved == {State.WANTED: [1]}
    assert decision.changed == [
        {
            "id": 1,
            "size": 4,
            "sha256": None,
            "upload_time": "2025-02-02T00:00:00Z",
            "proof": None,
        }
    ]


def test_a_size_that_a_digest_belies_is_told_and_decides_nothing() -> None:
    have = held(State.PUBLISHED)
    found = ProjectPage("six", "six", files=(offered(size=10**9, yanked="bad"),))
    page, (problem,) = believed(found, {have.filename: have})
    assert problem.reason is Reason.SIZE_MISMATCH
    assert [file.size for file in page.files] == [3]
    decision = run(*page.files, have=have)
    assert decision == Decision(changed=[{"id": 1, "yanked": "bad"}], found=1, reused=1)


@pytest.mark.parametrize(
    "have",
    [held(State.WANTED), held(State.PUBLISHED, size=None), held(State.PUBLISHED, sha256=None)],
)
def test_a_size_is_believed_where_nothing_proven_belies_it(have: FileRecord) -> None:
    found = ProjectPage("six", "six", files=(offered(size=4),))
    assert believed(found, {have.filename: have}) == (found, [])
