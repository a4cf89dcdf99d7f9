"""`pypimirror verify`: compare the disk with the catalog.

It reads every file again on all cores, the largest first. Then it looks for files that the catalog
does not know and for pages that differ from the catalog. The time of each successful check is
stored, so that a later run can skip the file. It deletes nothing that it does not know. A repair
first takes a bad file off its page, then fetches it again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from pypimirror.catalog import damage
from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries import doubts, files, projects, runs, totals
from pypimirror.catalog.records import ProjectFile, RunRecord
from pypimirror.catalog.states import CUT_SHORT, State
from pypimirror.domain.layout import METADATA_SUFFIX, PROVENANCE_SUFFIX, file_path
from pypimirror.domain.model import Problem, Reason, Stage
from pypimirror.pipeline import gate, history
from pypimirror.pipeline.audit import doubt, unknown_files
from pypimirror.pipeline.publish import fingerprints, root, spellings
from pypimirror.pipeline.run import Run
from pypimirror.pipeline.verify import takeback
from pypimirror.pipeline.verify.takeback import TAKEN_BACK
from pypimirror.storage import many
from pypimirror.verify.protocol import Check, Checked

#: Limits of the size bands, in bytes. The table is read once for each band: so large files come
#: first, and millions of rows need no sorting.
_BANDS = (1 << 30, 1 << 28, 1 << 26, 1 << 24, 1 << 20, 0)

#: Reasons that mean that the bytes are lost. A repair fetches the file again.
_MENDED_BY_FETCHING = (Reason.LOST, Reason.UNREADABLE)

#: Reasons of failures that concern the whole mirror, not a held file.
_OF_THE_TREE = frozenset({Reason.FOREIGN, Reason.PAGE_DIFFERS})

#: Reasons why a repair could not put a file in its place.
_IN_THE_WAY = frozenset({Reason.FOREIGN, Reason.DISK})

_PAGE = 2000  # rows of the catalog that are read at once
_COMMIT = 1000  # results that go into the catalog in one transaction

#: States of files whose bytes are served, or kept until the grace period ends.
_HELD = (State.VERIFIED, State.PUBLISHED, State.WITHDRAWN)


class Options(Struct, frozen=True):
    """How thoroughly to check, and whether to repair."""

    repair: bool = False
    quick: bool = False  #: read only files that have changed, by what the storage says
    max_age: float | None = None  #: seconds; skip files that were proven right since then
    max_duration: float | None = None  #: seconds; check no more files after this time
    #: Seconds since the epoch: skip files that were proven right since then. Wins over `max_age`.
    since: float | None = None
    #: Check only held files: no pages, and no search for unknown files.
    only_files: bool = False

    def words(self) -> list[str]:
        """Return the options as they are written on the command line, for the history."""
        flags = {"--repair": self.repair, "--quick": self.quick}
        times = {"--max-age": self.max_age, "--max-duration": self.max_duration}
        return [
            *(name for name, is_set in flags.items() if is_set),
            *(f"{name}={seconds!r}s" for name, seconds in times.items() if seconds is not None),
        ]

    @classmethod
    def parse(cls, words: Iterable[str]) -> Options:
        """Read the options that `words` returned."""
        given = dict(word.partition("=")[::2] for word in words)

        def seconds(name: str) -> float | None:
            return float(given[name].removesuffix("s")) if name in given else None

        return cls(
            repair="--repair" in given,
            quick="--quick" in given,
            max_age=seconds("--max-age"),
            max_duration=seconds("--max-duration"),
        )


def again(connection: Connection, row: RunRecord) -> Options:
    """Return the options for the retry of verification `row`: check what it did not prove right."""
    options = Options.parse(msgspec.json.decode(row.arguments, type=list[str]))
    first = row
    while first.retry_of and (earlier := runs.find(connection, first.retry_of)):
        first = earlier
    reasons = {failure.reason for failure in runs.failures_of(connection, row.id)}
    return replace(
        options,
        since=first.started_at - (options.max_age or 0),
        only_files=row.state not in CUT_SHORT and reasons.isdisjoint(_OF_THE_TREE),
    )


def audit(run: Run, options: Options, repair: Callable[[Run], None]) -> None:
    """Check everything on disk. `repair` fetches and publishes again the files that were taken
    back.
    """
    run.ledger.stage = Stage.VERIFY
    whole = options.since is None and options.max_age is None
    with run.catalog.read() as connection:
        if whole and not options.quick:
            damage.look_through(connection, run.catalog.shown)
        held = totals.held(connection) if whole else totals.Totals()
    run.ledger.begin(Stage.VERIFY, held.files, 0 if options.quick else held.size)
    findings = _Findings(run, options)
    try:
        with history.stage(run, Stage.VERIFY, 0, whole=True):
            _look(run, options, findings)
        if options.repair:
            doubt.settle(run)
            findings.repair(repair)
    finally:
        run.ledger.record(Stage.VERIFY, findings.problems)


def _look(run: Run, options: Options, findings: _Findings) -> None:
    """Check files, then unknown files and pages, until the time is over."""
    clock, ended = _clock(options.max_duration), threading.Event()
    pause = gate.Pauses(run)

    def is_late() -> bool:
        pause()
        return ended.is_set() or clock()

    # A thread looks around while the workers read files. Not during a repair, which changes files
    # and pages, not with a time limit, because the files need that time, and not with pauses.
    beside = not (options.repair or options.max_duration is not None or gate.is_needed(run))
    with ThreadPoolExecutor(1, thread_name_prefix="around") as pool:
        try:
            around = None
            if beside:
                around = pool.submit(_look_around, run, options, findings, is_late)
            _look_at_files(run, options, findings, is_late)
            if around is None:
                _look_around(run, options, findings, is_late)
            else:
                around.result()
        except BaseException:
            ended.set()
            raise
    if is_late():
        run.reporter.note("warning", "stopped at --max-duration; the rest waits for the next run")


def _look_around(
    run: Run, options: Options, findings: _Findings, is_late: Callable[[], bool]
) -> None:
    """Look for unknown files and for pages that differ from the catalog."""
    if not options.only_files:
        findings.add(unknown_files.find(run, is_late))
        findings.pages(is_late)


def _look_at_files(
    run: Run, options: Options, findings: _Findings, is_late: Callable[[], bool]
) -> None:
    """Read the held files and collect the findings."""
    rows: dict[int, ProjectFile] = {}
    jobs = _jobs(run, options, rows, is_late)
    batch: list[tuple[ProjectFile, Checked]] = []
    for result in run.hashed(jobs):
        batch.append((rows.pop(result.id), result))
        if len(batch) == _COMMIT:
            findings.take(batch)
            batch = []
    if batch:
        findings.take(batch)


def _clock(seconds: float | None) -> Callable[[], bool]:
    """Return a function that tells whether this many seconds have passed."""
    if seconds is None:
        return lambda: False
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() >= deadline


def _jobs(
    run: Run, options: Options, rows: dict[int, ProjectFile], is_late: Callable[[], bool]
) -> Iterator[Check]:
    """Yield the jobs that read files. `rows` holds the catalog's rows of jobs in progress."""
    before = options.since
    if before is None and options.max_age is not None:
        before = run.now - options.max_age
    # A quick check reads no files, so large files need not come first: one band is enough.
    for page in _held(run, before, (0,) if options.quick else _BANDS):
        if options.quick:
            if is_late():
                return
            page = _touched(run, page)
        for row in page:
            if is_late():
                return
            rows[row.id] = row
            yield _job(row)


def _touched(run: Run, page: list[ProjectFile]) -> list[ProjectFile]:
    """Return the files that must be read; the others count as checked."""
    untouched = many.ask(run.storage, partial(_untouched, run), page)
    number = sum(untouched)
    run.ledger.count(files_checked=number)
    run.reporter.advance(Stage.VERIFY, things=number)
    return [row for row, is_untouched in zip(page, untouched, strict=True) if not is_untouched]


def _job(row: ProjectFile) -> Check:
    """Return the job that reads a file and its sidecars."""
    key = file_path(row.project, row.filename, row.location)
    beside = {kind: key + end for kind, end in takeback.sidecars(row).items()}
    return Check(
        row.id,
        key,
        row.project,
        row.filename,
        row.size,
        digests=("sha256",),
        sidecar=beside.get("sidecar", ""),
        provenance=beside.get("provenance", ""),
    )


def _held(run: Run, before: float | None, bands: Sequence[int]) -> Iterator[list[ProjectFile]]:
    """Yield the held files in lists, band by band in descending size, without those proven since
    `before`.
    """
    upper = None
    for lower in bands:
        last = 0
        while True:
            with run.catalog.read() as connection:
                page = files.held(connection, _HELD, lower, upper, last, before, _PAGE)
            yield page
            if len(page) < _PAGE:
                break
            last = page[-1].id
        upper = lower


def _untouched(run: Run, row: ProjectFile) -> bool:
    """Whether a file and its sidecars are unchanged, by what the storage says without reading them.

    If the storage keeps the digests of its objects, these are compared; a sidecar without a digest
    was put there by somebody else. On a disk, the stamps are compared; sidecars must only exist.
    """
    key = file_path(row.project, row.filename, row.location)
    seen = run.storage.seen(key)
    if seen is None or (seen.sha256 is None and seen.stamp != row.stamp):
        return False
    if seen.sha256 is not None and (seen.sha256, seen.size) != (row.sha256, row.size):
        return False
    known = {METADATA_SUFFIX: row.metadata_sha256, PROVENANCE_SUFFIX: row.provenance_sha256}
    for suffix in takeback.sidecars(row).values():
        beside = run.storage.seen(key + suffix)
        if beside is None or (seen.sha256 is not None and beside.sha256 != known[suffix]):
            return False
    return True


class _Findings:
    """Collects what is wrong, and takes bad files back if the run repairs."""

    def __init__(self, run: Run, options: Options) -> None:
        self._run = run
        self._options = options
        self.problems: list[Problem] = []
        self._broken_pages: set[int] = set()

    def add(self, problems: Iterable[Problem]) -> None:
        """Collect problems and report them at once."""
        for problem in problems:
            self.problems.append(problem)
            self._run.reporter.problem(Stage.VERIFY, problem)

    def take(self, batch: Sequence[tuple[ProjectFile, Checked]]) -> None:
        """Judge some results: note the good files, and take back the bad ones."""
        run = self._run
        right: list[dict[str, Any]] = []
        wrong: list[tuple[ProjectFile, Checked, Problem]] = []
        for row, result in batch:
            problem = judge(row, result)
            if problem is None:
                right.append({"id": row.id, "proven_at": run.now, "stamp": result.stamp})
            else:
                wrong.append((row, result, problem))
        of_others = spellings.let_go(run, (row for row, _, _ in wrong))
        wrong = [each for each in wrong if each[0].id not in of_others]
        with run.catalog.write() as connection:
            files.change(connection, right)
        size = sum(result.size for _, result in batch)
        run.ledger.count(files_checked=len(batch), bytes_checked=size)
        run.reporter.advance(Stage.VERIFY, things=len(batch), size=size)
        self.add(problem for _, _, problem in wrong)
        if self._options.repair and wrong:
            seen = {row.id: result for row, result, _ in wrong}
            takeback.take_back(self._run, [(row, p) for row, _, p in wrong], seen)

    def pages(self, is_late: Callable[[], bool]) -> None:
        """Compare every page with the catalog, until the time is over."""
        for problem, project_id in fingerprints.differing(
            self._run, is_late, quick=self._options.quick
        ):
            self.add([problem])
            if project_id is not None:
                self._broken_pages.add(project_id)

    def repair(self, repair: Callable[[Run], None]) -> None:
        """Fetch and publish again what was taken back. Problems that remain are kept."""
        run = self._run
        with run.catalog.write() as connection:
            projects.touch(connection, self._broken_pages)
            # The upstream's page may have been damaged on its way here.
            doubts.look_at_refused(connection, run.now, run.now)
            doubts.look_at_bad(connection, None)
        root.expire(run)
        try:
            repair(run)
        finally:
            self._forget_mended()

    def _forget_mended(self) -> None:
        """Drop the problems that the repair has solved."""
        run = self._run
        good: set[tuple[str, str]] = set()
        bare: set[tuple[str, str]] = set()  # files without their attestations
        with run.catalog.read() as connection:
            for names in projects.chunks(sorted({problem.project for problem in self.problems})):
                good |= files.proven_names(connection, names)
                bare |= files.unattested_names(connection, names)
            failures = runs.failures_of(connection, run.id)
        ours = unknown_files.ours(run, self.problems)
        still = [p for p in self.problems if not _is_mended(p, good, bare) and p.file not in ours]
        run.ledger.count(repaired=len(self.problems) - len(still))
        # Report one failure for a file: the path in the way, because a user can move that.
        blocked = {(row.project, row.file) for row in failures if row.reason in _IN_THE_WAY}
        self.problems = [p for p in still if not p.file or (p.project, p.file) not in blocked]


def _is_mended(problem: Problem, good: set[tuple[str, str]], bare: set[tuple[str, str]]) -> bool:
    """Whether the repair has solved a problem.

    `good` are files that are proven now, `bare` are files without their attestations.
    """
    if problem.reason is Reason.PAGE_DIFFERS:
        return True
    file = (problem.project, problem.file)
    if problem.reason is Reason.PROVENANCE_MISMATCH and file in bare:
        return False
    return problem.reason in TAKEN_BACK and file in good


def judge(row: ProjectFile, result: Checked) -> Problem | None:
    """Return what is wrong with a held file, or None."""
    name = row.filename
    if result.problem is not None and result.problem.reason not in _MENDED_BY_FETCHING:
        return msgspec.structs.replace(result.problem, project=row.project, file=name)
    if result.problem is not None:
        reason = result.problem.reason
        text = f"its bytes are gone ({result.problem.message})"
        if reason is Reason.UNREADABLE:
            text = f"its bytes cannot be read ({result.problem.message})"
    elif row.size is not None and result.size < row.size:
        reason, text = Reason.TRUNCATED, f"has {result.size} bytes of {row.size}"
    elif result.digests["sha256"] != (known := row.sha256.hex() if row.sha256 else ""):
        reason = Reason.DIGEST_MISMATCH
        text = f"was verified with sha256 {known}, but now has {result.digests['sha256']}"
    elif row.metadata_sha256 and result.sidecar_sha256 != row.metadata_sha256.hex():
        reason, text = Reason.METADATA_MISMATCH, "its core metadata is missing or changed"
    elif row.provenance_sha256 and result.provenance_sha256 != row.provenance_sha256.hex():
        reason, text = Reason.PROVENANCE_MISMATCH, "its attestations are missing or changed"
    else:
        return None
    return Problem(
        reason,
        f"{name}: {text}; 'pypimirror verify --repair' repairs it",
        row.project,
        name,
        row.url,
    )
