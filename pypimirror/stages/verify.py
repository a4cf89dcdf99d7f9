"""Verify: prove what was fetched, and put it in its place with its core metadata.

fetched → verified; or quarantined, where the archive is broken: then the next place that has the
file is tried at once, until one delivers bytes that pass. Digests were computed where the bytes
passed by: in the download worker, or when an earlier run's bytes were read again
(`stages.download`). Files that nobody gave a strong digest for are read to their end here. Bytes
are durable before the catalog says that they are verified.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Row

from pypimirror.catalog import files, projects, runs
from pypimirror.catalog.states import State
from pypimirror.model import Problem, Reason, Stage
from pypimirror.stages import adopt, backoff, download, provenance, publish
from pypimirror.stages.adopt import stamp_of
from pypimirror.stages.claims import claims_of
from pypimirror.stages.quarantine import set_aside
from pypimirror.stages.run import Run, StoppedError
from pypimirror.tree import METADATA_SUFFIX, file_path
from pypimirror.verify import proof
from pypimirror.verify.proof import BAD_BYTES, Proof
from pypimirror.verify.protocol import Check, Checked

_NOTHING = Checked(0)


def verify(run: Run, ids: Sequence[int]) -> None:
    """Prove the fetched files of these projects and put them in their places."""
    with run.catalog.write() as connection:
        rows = files.in_states(connection, ids, [State.FETCHED])
        names = sorted({row.project for row in rows})
        runs.clear_failures(connection, run.id, Stage.VERIFY, names)
    rows = [row for row in rows if row.id in run.observed]
    run.reporter.begin(Stage.VERIFY, len(rows))
    first: dict[int, Problem] = {}  # of several bad copies, what was wrong with the first
    lost: list[tuple[Row[Any], Problem]] = []
    while rows:
        bad = _prove(run, rows)
        for number, (_, problem) in bad.items():
            first.setdefault(number, problem)
        again = download.fetch_elsewhere(run, bad)
        lost.extend((bad[number][0], first[number]) for number in bad if number not in again)
        rows = [bad[number][0] for number in bad if number in again]
    _give_up(run, lost)
    provenance.complete(run, ids)


def _give_up(run: Run, lost: Sequence[tuple[Row[Any], Problem]]) -> None:
    """Record what no place delivers in a form that passes."""
    with run.catalog.write() as connection:
        files.change(
            connection,
            [{"id": r.id, **backoff.after_failure(r, p, run.id, run.now)} for r, p in lost],
        )
    for row, _ in lost:
        run.tried.pop(row.id, None)
    run.count(files_quarantined=len(lost))
    run.failed(Stage.VERIFY, [problem for _, problem in lost])
    run.reporter.advance(Stage.VERIFY, things=len(lost))


def _prove(run: Run, rows: Sequence[Row[Any]]) -> dict[int, tuple[Row[Any], Problem]]:
    """Verify what passes; put aside what is broken, and return it with what is wrong."""
    checked = _check(run, rows)
    problems: list[Problem] = []
    good: list[tuple[Row[Any], Proof, Checked]] = []
    bad: dict[int, tuple[Row[Any], Problem]] = {}
    for row in rows:
        result = checked.get(row.id, _NOTHING)
        level = _level(run, row, result)
        if result.problem is not None and result.problem.reason not in BAD_BYTES:
            problems.append(_named(row, result.problem))  # says nothing about the bytes
            if result.problem.reason is Reason.DISK:
                raise StoppedError(problems[-1])
        elif result.problem is not None:
            bad[row.id] = (row, _named(row, result.problem, run.observed[row.id].url))
        elif stamp_of(run, row) != run.observed[row.id].stamp:
            del run.observed[row.id]  # the next run looks at these bytes again
            problems.append(_named(row, Problem(Reason.LOST, "its bytes changed meanwhile")))
        elif level > proof.weakest(run.config.verify.accept):
            problems.append(_unproven(run, row, level))
        else:
            good.append((row, level, result))
    # What is in place already comes first: a page that is rendered to let go of bad bytes, or of
    # bytes that are replaced, then loses nothing else.
    staged = {row.id for row, _, _ in good if run.tree.is_staged(row.id)}
    _place(run, [each for each in good if each[0].id not in staged], problems)
    _put_aside(run, bad.values())
    _place(run, [each for each in good if each[0].id in staged], problems)
    run.failed(Stage.VERIFY, problems)
    run.reporter.advance(Stage.VERIFY, things=len(rows) - len(bad))
    return bad


def _check(run: Run, rows: Sequence[Row[Any]]) -> dict[int, Checked]:
    """Read the archives that must be read; take core metadata out of wheels that still have it."""
    jobs = []
    for row in rows:
        structure = not _is_known(run, row) and proof.needs_structure(claims_of(row).digests)
        wheel = row.filename.endswith(".whl") and not run.observed[row.id].metadata
        if structure or wheel:
            jobs.append(
                Check(
                    row.id,
                    _source(run, row),
                    row.project,
                    row.filename,
                    run.observed[row.id].size,
                    structure=structure,
                    metadata_path=run.tree.staged_metadata(row.id) if wheel else "",
                )
            )
    return {result.id: result for result in run.check(jobs)}


def _is_known(run: Run, row: Row[Any]) -> bool:
    """Whether these very bytes were proven before: then they are as well proven as they were.

    The sha256 in the catalog is this mirror's own then, and nobody's claim.
    """
    return row.proof is not None and bool(run.observed[row.id].sha256 == row.sha256)


def _level(run: Run, row: Row[Any], result: Checked) -> Proof:
    if _is_known(run, row):
        return Proof(row.proof)
    shared = row.proof_source is not None and row.proof_source != row.upstream
    return proof.level(claims_of(row).digests, shared=shared, structure=result.structure)


def _algorithm(run: Run, row: Row[Any]) -> str | None:
    """Return the strongest algorithm of which somebody gave a digest."""
    if _is_known(run, row):
        known: str | None = row.proof_algorithm
        return known
    return proof.strongest(claims_of(row).digests)


def _put_aside(run: Run, bad: Iterable[tuple[Row[Any], Problem]]) -> None:
    bad = list(bad)
    _retract(run, [row for row, _ in bad if not run.tree.is_staged(row.id)])
    moved = []
    for row, problem in bad:
        observed = run.observed.pop(row.id)
        digests = {"sha256": observed.sha256.hex()}
        set_aside(run, row, Path(_source(run, row)), digests, observed.size, problem)
        moved.append({"id": row.id})
    with run.catalog.write() as connection:
        files.move(connection, State.QUARANTINED, moved, run.id)


def _place(
    run: Run, good: Sequence[tuple[Row[Any], Proof, Checked]], problems: list[Problem]
) -> None:
    """Move proven files to their places, make that durable, and commit it."""
    if not good:
        return
    staged = {row.id for row, _, _ in good if run.tree.is_staged(row.id)}
    _retract(run, [row for row, _, _ in good if row.id in staged])
    verified = []
    moves: list[tuple[Path | str, str]] = []
    metadata: dict[int, bytes] = {}
    for row, _, result in good:
        if digest := _metadata(run, row, result, problems):
            metadata[row.id] = digest
            moves.append((run.tree.staged_metadata(row.id), _relative(row) + METADATA_SUFFIX))
        if row.id in staged:
            adopt.clear_way(run, row)
            provenance.let_go(run, row)
            moves.append((run.tree.staged_text(row.id), _relative(row)))
    run.tree.place(moves)
    for row, level, _ in good:
        observed = run.observed[row.id]
        verified.append(
            {
                "id": row.id,
                "size": observed.size,
                "sha256": observed.sha256,
                "proof": level,
                "proof_algorithm": _algorithm(run, row),
                "proven_at": run.now,
                "stamp": run.tree.stamp(_relative(row)),
                "metadata_sha256": metadata.get(row.id),
                "provenance_sha256": provenance.held(run, row),
                "withdrawn_at": None,
                **backoff.CLEAN,
            }
        )
    run.tree.flush()
    ids = {(row.filename, row.project): row.project_id for row, _, _ in good}
    with run.catalog.write() as connection:
        files.move(connection, State.VERIFIED, verified, run.id)
        # Said in every run, until the upstream announces something else.
        projects.add_refusals(
            connection,
            ((ids[p.file, p.project], p) for p in problems if p.reason is Reason.METADATA_MISMATCH),
        )
        projects.touch(connection, {row.project_id for row, _, _ in good})
    for row, _, _ in good:
        del run.observed[row.id]
        run.tried.pop(row.id, None)
    levels = Counter(f"proven_by_{level.label}" for _, level, _ in good)
    size = sum(values["size"] for values in verified)
    run.count(files_verified=len(good), bytes_verified=size, **levels)


def _retract(run: Run, rows: Sequence[Row[Any]]) -> None:
    """Render pages first that may still name bytes in place which are about to go."""
    going = {row.project_id for row in rows if run.tree.has(_relative(row))}
    publish.render_pages(run, sorted(going))


def _metadata(run: Run, row: Row[Any], result: Checked, problems: list[Problem]) -> bytes:
    """Return the sha256 of a wheel's core metadata; b"" where it is not what was announced.

    It is read from the wheel itself: whoever announces other metadata than the wheel carries
    would have installers resolve something else than they install.
    """
    digest = run.observed[row.id].metadata or bytes.fromhex(result.metadata_sha256)
    if row.metadata_claim and row.metadata_claim != digest:
        run.tree.unstage(f"{row.id}{METADATA_SUFFIX}")
        message = (
            f"the upstream announces core metadata with sha256 {row.metadata_claim.hex()}, and "
            f"the wheel's own has {digest.hex() or 'none'}; the wheel is served without"
        )
        problems.append(_named(row, Problem(Reason.METADATA_MISMATCH, message)))
        return b""
    return digest


def _relative(row: Row[Any]) -> str:
    return file_path(row.project, row.filename, row.location)


def _source(run: Run, row: Row[Any]) -> str:
    """Return where the bytes are: in staging, or in place where an earlier run put them."""
    staged = run.tree.is_staged(row.id)
    return run.tree.staged_text(row.id) if staged else run.tree.text(_relative(row))


def _named(row: Row[Any], problem: Problem, url: str = "") -> Problem:
    message = f"{row.filename}: {problem.message.removeprefix(f'{row.filename}: ')}"
    return msgspec.structs.replace(
        problem, message=message, project=row.project, file=row.filename, url=url or row.url
    )


def _unproven(run: Run, row: Row[Any], level: Proof) -> Problem:
    message = (
        f"its proof is {level.label!r}, and [verify] accept asks for "
        f"{run.config.verify.accept!r} at least"
    )
    return _named(row, Problem(Reason.NO_PROOF, message))
