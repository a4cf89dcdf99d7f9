"""Verify: prove fetched files and move them to their places, with their core metadata.

Files move from fetched to verified. If the archive is broken, they move to quarantined, and the
next place that has the file is tried at once, until one delivers good bytes. The digests were
computed while the bytes passed by: in the download worker, or when bytes of an earlier run were
read again (`pipeline.download.download`). Archives without a strong claimed digest are read to the
end here. Bytes are durable before the catalog calls them verified.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pypimirror.catalog.queries import doubts, files, projects, runs
from pypimirror.catalog.records import ProjectFile
from pypimirror.catalog.states import State
from pypimirror.domain.layout import METADATA_SUFFIX, file_path
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.pipeline import backoff
from pypimirror.pipeline.context.batch import Batch, Observed
from pypimirror.pipeline.download import adopt, download
from pypimirror.pipeline.download.claims import algorithms_of
from pypimirror.pipeline.publish import publish
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.pipeline.verify import provenance
from pypimirror.pipeline.verify.quarantine import set_aside
from pypimirror.storage import many
from pypimirror.verify import proof
from pypimirror.verify.proof import BAD_BYTES, Proof
from pypimirror.verify.protocol import Check, Checked

_NOTHING = Checked(0)


def verify(run: Run, batch: Batch) -> None:
    """Prove the fetched files of these projects and move them to their places."""
    with run.catalog.write() as connection:
        rows = files.in_states(connection, batch.projects, [State.FETCHED])
        names = sorted({row.project for row in rows})
        runs.clear_failures(connection, run.id, Stage.VERIFY, names)
    rows = [row for row in rows if row.id in batch.observed]
    run.ledger.begin(Stage.VERIFY, len(rows))
    first: dict[int, Problem] = {}  # the problem of the first bad copy of each file
    lost: list[tuple[ProjectFile, Problem]] = []
    while rows:
        bad = _prove(run, batch, rows)
        for number, (_, problem) in bad.items():
            first.setdefault(number, problem)
        again = download.fetch_elsewhere(run, batch, bad)
        lost.extend((bad[number][0], first[number]) for number in bad if number not in again)
        rows = [bad[number][0] for number in bad if number in again]
    _give_up(run, lost)
    provenance.complete(run, batch.projects)


def _give_up(run: Run, lost: Sequence[tuple[ProjectFile, Problem]]) -> None:
    """Record the files for which no place delivers good bytes."""
    if not lost:
        return
    with run.catalog.write() as connection:
        files.change(
            connection,
            [{"id": r.id, **backoff.after_failure(r, p, run.id, run.now)} for r, p in lost],
        )
    run.ledger.count(files_quarantined=len(lost))
    run.ledger.failed(Stage.VERIFY, [problem for _, problem in lost])
    run.reporter.advance(Stage.VERIFY, things=len(lost))


def _prove(
    run: Run, batch: Batch, rows: Sequence[ProjectFile]
) -> dict[int, tuple[ProjectFile, Problem]]:
    """Verify good files. Put bad ones aside and return them with their problems."""
    to_prove = [_look_at(run, row, batch.observed[row.id]) for row in rows]
    checked = _check(run, to_prove)
    problems: list[Problem] = []
    good: list[_Good] = []
    bad: dict[int, tuple[ProjectFile, Problem]] = {}
    weakest = proof.weakest(run.config.verify.accept)
    for fetched in to_prove:
        row = fetched.row
        result = checked.get(row.id, _NOTHING)
        level = _level(fetched, result)
        if result.problem is not None and result.problem.reason not in BAD_BYTES:
            problems.append(_named(row, result.problem))  # the bytes may be good
            if result.problem.reason is Reason.DISK:
                raise StoppedError(problems[-1])
        elif result.problem is not None:
            bad[row.id] = (row, _named(row, result.problem, fetched.seen.url))
        elif _is_touched(run, fetched, was_read=row.id in checked):
            # The next run reads these bytes again.
            problems.append(_named(row, Problem(Reason.LOST, "its bytes changed meanwhile")))
        elif level <= weakest:
            good.append(_Good(fetched, level, result))
        elif _is_released(fetched):
            good.append(_Good(fetched, Proof.RELEASED, result))
        else:
            problems.append(_unproven(run, row, level))
    # Files that are in place come first. Otherwise a page that is rendered without bad or replaced
    # bytes would lose these files too.
    _place(run, batch, [each for each in good if not each.fetched.staged], problems)
    _put_aside(run, batch, bad.values())
    _place(run, batch, [each for each in good if each.fetched.staged], problems)
    run.ledger.failed(Stage.VERIFY, problems)
    run.reporter.advance(Stage.VERIFY, things=len(rows) - len(bad))
    return bad


def _is_touched(run: Run, fetched: _Fetched, *, was_read: bool) -> bool:
    """Whether somebody changed the bytes of a file since they were hashed.

    Reading an archive takes long, so its stamp is taken again after that.
    """
    now = adopt.stamp_of(run, fetched.row) if was_read else fetched.stamp
    return now is None or now != fetched.seen.stamp


class _Fetched(NamedTuple):
    """A file to prove."""

    row: ProjectFile
    seen: Observed
    staged: bool  #: its bytes are in staging; else an earlier run has put them in place
    stamp: int | None  #: of its bytes; None: they are missing
    relative: str  #: its path below the mirror root
    claimed: Collection[str]  #: algorithms of the claimed digests
    #: The same bytes were proven before, so that proof is still valid. The sha256 in the catalog is
    #: then this mirror's own, not a claim.
    known: bool


class _Good(NamedTuple):
    """A proven file and its level of proof."""

    fetched: _Fetched
    level: Proof
    result: Checked


def _look_at(run: Run, row: ProjectFile, seen: Observed) -> _Fetched:
    """Return the facts about a file that its proof needs."""
    staged = run.workspace.staged_stamp(row.id)
    return _Fetched(
        row,
        seen,
        staged is not None,
        adopt.stamp_of_placed(run, row) if staged is None else staged,
        file_path(row.project, row.filename, row.location),
        algorithms_of(row),
        row.proof is not None and bool(seen.sha256 == row.sha256),
    )


def _check(run: Run, to_prove: Iterable[_Fetched]) -> dict[int, Checked]:
    """Read the archives that must be read. Extract core metadata from wheels that need it."""
    jobs: list[tuple[Check, str | None]] = []
    for fetched in to_prove:
        row, seen, staged, _, relative, claimed, known = fetched
        structure = not known and proof.needs_structure(claimed)
        wheel = row.filename.endswith(".whl") and not seen.metadata
        if structure or wheel:
            job = Check(
                row.id,
                run.workspace.staged_text(row.id),
                row.project,
                row.filename,
                seen.size,
                structure=structure,
                released=_is_released(fetched),
                metadata_path=run.workspace.staged_metadata(row.id) if wheel else "",
            )
            jobs.append((job, None if staged else relative))
    return {result.id: result for result in run.examined(jobs)} if jobs else {}


def _is_released(fetched: _Fetched) -> bool:
    """Whether the operator has released exactly these bytes, however weak their proof is.

    Other bytes with the same name are not released. Bytes that contradict a digest never get here.
    """
    return fetched.row.released == fetched.seen.sha256


def _level(fetched: _Fetched, result: Checked) -> Proof:
    """Return the level of proof of a file."""
    row = fetched.row
    if fetched.known and row.proof is not None:
        return Proof(row.proof)
    shared = row.proof_source is not None and row.proof_source != row.upstream
    return proof.level(fetched.claimed, shared=shared, structure=result.structure)


def _algorithm(fetched: _Fetched) -> str | None:
    """Return the strongest algorithm with a claimed digest."""
    if fetched.known:
        return fetched.row.proof_algorithm
    return proof.strongest(fetched.claimed)


def _put_aside(run: Run, batch: Batch, bad: Iterable[tuple[ProjectFile, Problem]]) -> None:
    """Move bad bytes to quarantine, after the pages that link to them are rendered without them."""
    bad = list(bad)
    if not bad:
        return
    _retract(run, [row for row, _ in bad if not run.workspace.is_staged(row.id)])
    moved = []
    for row, problem in bad:
        observed = batch.observed.pop(row.id)
        digests = {"sha256": observed.sha256.hex()}
        set_aside(run, row, _take(run, row), digests, observed.size, problem)
        moved.append({"id": row.id})
    with run.catalog.write() as connection:
        files.move(connection, State.QUARANTINED, moved, run.id)


def _place(run: Run, batch: Batch, good: Sequence[_Good], problems: list[Problem]) -> None:
    """Move proven files to their places, make them durable, and commit."""
    if not good:
        return
    staged = [each.fetched.row for each in good if each.fetched.staged]
    _retract(run, [row for row in staged if row.location or row.project not in batch.bare])
    verified: list[dict[str, Any]] = []
    wrong: list[Problem] = []
    moves: list[tuple[Path | str, str]] = []
    digests: dict[str, bytes] = {}
    for fetched, level, result in good:
        metadata = _metadata(run, fetched, result, wrong)
        _prepare_moves(run, batch, fetched, metadata, moves, digests)
        verified.append(_proven(run, fetched, level, metadata))
    blocked: dict[str, Problem] = {}
    stamps = run.storage.place(moves, blocked, digests)
    run.storage.flush()
    stuck = _stuck(good, blocked)
    good = [each for each in good if each.fetched.row.id not in stuck]
    verified = [values for values in verified if values["id"] not in stuck]
    if stamps:
        places = {each.fetched.row.id: each.fetched.relative for each in good}
        for values in verified:
            values["stamp"] = stamps.get(places[values["id"]], values["stamp"])
    problems.extend((*wrong, *stuck.values()))
    _note_verified(run, good, verified, wrong)


def _prepare_moves(
    run: Run,
    batch: Batch,
    fetched: _Fetched,
    metadata: bytes,
    moves: list[tuple[Path | str, str]],
    digests: dict[str, bytes],
) -> None:
    """Add the moves of a file and of its core metadata, and the digests of what is moved."""
    row, place = fetched.row, fetched.relative
    if metadata:
        moves.append((run.workspace.staged_metadata(row.id), place + METADATA_SUFFIX))
        digests[place + METADATA_SUFFIX] = metadata
    if fetched.staged:
        adopt.clear_way(run, batch, row)
        provenance.let_go(run, row, fetched.seen.sha256)
        moves.append((run.workspace.staged_text(row.id), place))
        digests[place] = fetched.seen.sha256


def _proven(run: Run, fetched: _Fetched, level: Proof, metadata: bytes) -> dict[str, Any]:
    """Return the new columns of a proven file."""
    row, seen = fetched.row, fetched.seen
    return {
        "id": row.id,
        "size": seen.size,
        "sha256": seen.sha256,
        "proof": int(level),
        "proof_algorithm": _algorithm(fetched),
        "proven_at": run.now,
        "stamp": seen.stamp,  # just compared; most moves do not change it
        "metadata_sha256": metadata or None,
        "provenance_sha256": provenance.held(run, row, seen.sha256),
        "withdrawn_at": None,
        "linked": None,
        **backoff.CLEAN,
    }


def _note_verified(
    run: Run, good: Sequence[_Good], verified: Sequence[dict[str, Any]], wrong: Iterable[Problem]
) -> None:
    """Note in the catalog that files are proven and in place."""
    rows = [each.fetched.row for each in good]
    projects_of = {(row.filename, row.project): row.project_id for row in rows}
    with run.catalog.write() as connection:
        files.move(connection, State.VERIFIED, verified, run.id)
        # Every run reports these until the upstream announces something else.
        named = ((projects_of.get((p.file, p.project)), p) for p in wrong)
        refusals = ((project, problem) for project, problem in named if project is not None)
        doubts.add_refusals(connection, refusals)
        projects.touch(connection, {row.project_id for row in rows})
    levels = Counter(f"proven_by_{level.label}" for _, level, _ in good)
    size = sum(values["size"] for values in verified)
    run.ledger.count(files_verified=len(good), bytes_verified=size, **levels)


def _stuck(good: Iterable[_Good], blocked: Mapping[str, Problem]) -> dict[int, Problem]:
    """Return the problems of files that could not be put in place, with their core metadata."""
    found = {}
    for fetched, _, _ in good if blocked else ():
        problem = blocked.get(fetched.relative) or blocked.get(fetched.relative + METADATA_SUFFIX)
        if problem is not None:
            found[fetched.row.id] = _named(fetched.row, problem)
    return found


def _retract(run: Run, rows: Sequence[ProjectFile]) -> None:
    """Render pages first that may still link to bytes in place that will be moved or replaced."""
    sizes = many.ask(run.storage, run.storage.size, list(map(_relative, rows)))
    going = {row.project_id for row, size in zip(rows, sizes, strict=True) if size is not None}
    if going:
        publish.render_pages(run, sorted(going))


def _metadata(run: Run, fetched: _Fetched, result: Checked, problems: list[Problem]) -> bytes:
    """Return the sha256 of a wheel's core metadata; b"" if it differs from the announced one.

    The metadata comes from the wheel itself. If the upstream's metadata differed from the wheel,
    installers would resolve something else than they install.
    """
    row = fetched.row
    digest = fetched.seen.metadata or bytes.fromhex(result.metadata_sha256)
    if row.metadata_claim and row.metadata_claim != digest:
        run.workspace.unstage(f"{row.id}{METADATA_SUFFIX}")
        message = (
            f"the upstream announces core metadata with sha256 {row.metadata_claim.hex()}, but "
            f"the wheel's own has {digest.hex() or 'none'}; the wheel is served without any"
        )
        problems.append(_named(row, Problem(Reason.METADATA_MISMATCH, message)))
        return b""
    return digest


def _relative(row: ProjectFile) -> str:
    return file_path(row.project, row.filename, row.location)


def _take(run: Run, row: ProjectFile) -> Callable[[Path], None]:
    """Return a function that moves the bytes away, from staging or from their place."""
    if run.workspace.is_staged(row.id):
        return run.workspace.take_staged(row.id)
    return partial(run.storage.take, _relative(row))


def _named(row: ProjectFile, problem: Problem, url: str = "") -> Problem:
    """Return the problem with the file's name, project and address."""
    message = f"{row.filename}: {problem.message.removeprefix(f'{row.filename}: ')}"
    return msgspec.structs.replace(
        problem, message=message, project=row.project, file=row.filename, url=url or row.url
    )


def _unproven(run: Run, row: ProjectFile, level: Proof) -> Problem:
    """Return the problem of a file whose proof is too weak."""
    message = (
        f"its proof is {level.label!r}, but [verify] accept requires at least "
        f"{run.config.verify.accept!r}; 'pypimirror quarantine release {row.filename}' "
        "accepts these bytes"
    )
    return _named(row, Problem(Reason.NO_PROOF, message))
