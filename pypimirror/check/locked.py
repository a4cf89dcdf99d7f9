"""Checks locks: is every file that an installer may choose here, with the digest of the lock?

A lock says which files an installer may choose, so nothing is resolved. With an environment, these
are the wheels that fit it, or the sdist if no wheel fits. The machine decides which of several
wheels is chosen, so all of them must be here. Without an environment, these are all files of the
lock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pypimirror.check.outcome import CheckState, Gap, GapKind, Outcome
from pypimirror.check.shelf import DAMAGED, Shelf, ShelfFile, ShelfPage
from pypimirror.check.targets import Target
from pypimirror.domain import bounded
from pypimirror.domain.model import ProjectName
from pypimirror.select.locks.lock import Lock, LockedFile, LockedRelease


def check(shelf: Shelf, lock: Lock, name: str, targets: Sequence[Target]) -> Iterator[Outcome]:
    """Yield the outcome of a lock for each environment; without environments, one for all files."""
    for target in targets or (None,):
        releases = lock.releases if target is None else lock.needed(target.meets)
        shelf.load(each.project for each in releases)
        missing = [gap for each in releases for gap in _gaps(shelf, each, target)]
        yield Outcome(
            name,
            target.python if target else None,
            target.platform if target else None,
            CheckState.MISSING if missing else CheckState.COMPLETE,
            len(releases),
            tuple(missing),
            tuple(lock.notes),
        )


def _gaps(shelf: Shelf, release: LockedRelease, target: Target | None) -> Iterator[Gap]:
    offer = shelf.offer(release.project)
    if offer is None:
        yield _gap(release, GapKind.PROJECT, "the mirror has no such project")
        return
    if offer.is_damaged:
        yield _gap(release, GapKind.LOST, DAMAGED)
        return
    named = [file for file in release.files if file.filename is not None]
    for file in _meant(named, target):
        if (gap := _file_gap(shelf, offer, release, file)) is not None:
            yield gap
    if named and not _meant(named, target):
        why = f"the lock names no file of it that fits {target}"
        yield _gap(release, GapKind.PLATFORM, why)
    unnamed = [file for file in release.files if file.filename is None]
    if unnamed or not release.files:
        yield from _gaps_of_version(shelf, offer, release, unnamed, target)


def _meant(files: Sequence[LockedFile], target: Target | None) -> list[LockedFile]:
    """Return the files that an installer may choose in an environment."""
    if target is None:
        return list(files)
    wheels = [file for file in files if _fits(str(file.filename), target)]
    return wheels or [file for file in files if not str(file.filename).endswith(".whl")]


def _fits(filename: str, target: Target) -> bool:
    if not filename.endswith(".whl"):
        return False
    return target.environments.install("-".join(filename[:-4].rsplit("-", 3)[1:]))


def _file_gap(
    shelf: Shelf, offer: ShelfPage, release: LockedRelease, file: LockedFile
) -> Gap | None:
    filename = str(file.filename)
    held = next((each for each in offer.files if each.filename == filename), None)
    if held is None and filename in offer.away:
        return _gap(release, GapKind.AWAY, "its page leads to the upstream for it", filename)
    if filename in offer.lost:
        return _gap(release, GapKind.LOST, "it is on its page, and not on the mirror", filename)
    if held is None:
        return _gap(release, GapKind.FILE, "it is not on the mirror", filename)
    if file.digests and not is_of(shelf, held, file.digests):
        told = ", ".join(f"{algorithm} {value[:12]}…" for algorithm, value in file.digests)
        return _gap(
            release,
            GapKind.DIGEST,
            f"the mirror has other bytes than the lock names ({told})",
            filename,
        )
    return None


def _gaps_of_version(
    shelf: Shelf,
    offer: ShelfPage,
    release: LockedRelease,
    unnamed: Sequence[LockedFile],
    target: Target | None,
) -> Iterator[Gap]:
    """Yield the gaps if the lock names no files: of the version, or of its digests."""
    here = [file for file in offer.files if _is_version(file, release.version)]
    fitting = here
    if target is not None:
        wheels = [file for file in here if _fits(file.filename, target)]
        fitting = wheels or [file for file in here if not file.is_wheel]
    if not fitting:
        kind, of = (GapKind.PLATFORM, f" that fits {target}") if here else (GapKind.VERSION, "")
        yield _gap(release, kind, f"the mirror has no file of it{of}")
        return
    asked = frozenset(pair for file in unnamed for pair in file.digests)
    if asked and not any(is_of(shelf, file, asked) for file in fitting):
        yield _gap(release, GapKind.DIGEST, "no file of it here has a digest that the lock names")
        return
    # A lock of pipenv may have digests of other versions, too (`matching.unmet_by`).
    for file in unnamed if target is None else ():
        if not any(is_of(shelf, each, file.digests) for each in offer.files):
            told = ", ".join(f"{algorithm} {value[:12]}…" for algorithm, value in file.digests)
            yield _gap(release, GapKind.FILE, f"the mirror has no file with its {told}")


def _is_version(held: ShelfFile, version: str | None) -> bool:
    return version is None or held.version == bounded.version(version)


def is_of(shelf: Shelf, held: ShelfFile, digests: frozenset[tuple[str, str]]) -> bool:
    """Whether a file has one of these digests for each algorithm.

    Digests that are not on its page are computed.
    """
    if not digests:
        return True
    told: Mapping[str, str] = held.digests
    if not {algorithm for algorithm, _ in digests} & told.keys():
        told = shelf.digests(held, {algorithm for algorithm, _ in digests})
    asked = {name: {v for a, v in digests if a == name} for name, _ in digests if name in told}
    return bool(asked) and all(told[name] in values for name, values in asked.items())


def _gap(release: LockedRelease, kind: GapKind, message: str, filename: str | None = None) -> Gap:
    project = ProjectName(release.project)
    meant = f"{project}=={release.version}" if release.version else project
    return Gap(kind, project, meant, message, (release.source,), filename)
