"""A project's files as pages show them: by release, with proofs and reasons in words. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from packaging.version import Version

from pypimirror.catalog.queries.browsing.shown import ShownFile
from pypimirror.catalog.states import DENIED, PROVEN, Cause, State, word
from pypimirror.domain.filenames import version_of, version_text
from pypimirror.domain.model import Problem, Reason
from pypimirror.domain.sizes import amount, number_of
from pypimirror.serve.pages.about import line
from pypimirror.status.reasons import REASONS
from pypimirror.verify import pkg_info
from pypimirror.verify.proof import Proof

_PROOFS = {
    Proof.DIGEST: "has the {algorithm} digest that {source} gave",
    Proof.SHARED: "has the {algorithm} digest that {source} gave for the same file",
    Proof.STRUCTURE: "was read to its end; nobody gave a digest that counts",
    Proof.PARTIAL: "was checked in part; nobody gave a digest that counts",
    Proof.RELEASED: "was released by the operator of this mirror",
}

_STATES = {
    State.WANTED.label: "it is still to be fetched",
    State.FETCHED.label: "it was fetched and is still to be verified",
    State.FAILED.label: "it could not be fetched; the next runs try again",
    State.QUARANTINED.label: "it was fetched and found to be bad, so it is not served",
    State.WITHDRAWN.label: "it was withdrawn",
    DENIED: "a policy of the upstream keeps it back",
}

_CAUSES = {
    Cause.UPSTREAM: "the upstream does not offer it any more",
    Cause.CLAIMS: "the upstream changed what it says of it, and this mirror does not select it now",
    Cause.REPLACED: "newer files take its place in the selection of this mirror",
    Cause.SELECTION: "this mirror does not select it",
    Cause.KEPT: "the upstream does not offer it any more",
    Cause.QUARANTINE: "the upstream keeps it back for now",
    Cause.DROPPED: "the upstream does not offer it any more",
}


@dataclass(frozen=True)
class AbsentFile:
    """A file that is not here, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class ShownRelease:
    """The files of one version."""

    version: str  #: as in the names of the files; "" if they name none
    order: tuple[bool, Version, str]
    files: list[ShownFile] = field(default_factory=list)
    absent: list[AbsentFile] = field(default_factory=list)

    @property
    def is_valid(self) -> bool:
        """Whether installers understand its version."""
        return self.order[0]

    @cached_property
    def is_final(self) -> bool:
        """Whether it is a valid version and no pre-release."""
        return self.is_valid and not self.order[1].is_prerelease

    @cached_property
    def uploaded(self) -> str:
        """When its first file was uploaded, as the simple API writes times; "": unknown."""
        # All have the same form, so the order of the texts is the order of the times.
        return min((file.upload_time for file in self.files if file.upload_time), default="")

    @cached_property
    def is_yanked(self) -> bool:
        """Whether all of its files are yanked."""
        return bool(self.files) and all(
            file.yanked is not None or file.kept is not None for file in self.files
        )

    @cached_property
    def yank_reason(self) -> str:
        """The reason for the yank, if one is given."""
        if any(file.kept is not None for file in self.files):
            return "deleted upstream, and kept here"
        return next((line(file.yanked) for file in self.files if file.yanked), "")

    @cached_property
    def requires_python(self) -> str:
        """The versions of Python that its newest file supports."""
        return next((line(f.requires_python, 100) for f in self.files if f.requires_python), "")

    @cached_property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size or 0 for file in self.files)

    @cached_property
    def told(self) -> str:
        """Its files in a few words."""
        parts = [number_of(len(self.files), "file")] if self.files else []
        parts += [amount(self.size)] if self.size else []
        parts += [f"Python {self.requires_python}"] if self.requires_python else []
        return ", ".join(parts)

    @property
    def described_by(self) -> ShownFile | None:
        """A file with a description of the project: in core metadata here, else in an sdist."""
        here = [file for file in self.files if not file.linked]
        described = (file for file in here if file.metadata_sha256)
        sdists = (file for file in here if pkg_info.is_sdist(file.filename))
        return next(described, None) or next(sdists, None)


def grouped(
    project: str, files: Iterable[ShownFile], refused: Iterable[Problem], *, details: bool
) -> list[ShownRelease]:
    """Return the releases of a project, the newest first.

    With `details`, reasons may contain addresses and paths.
    """
    found: dict[Version | str, ShownRelease] = {}
    written: dict[str, ShownRelease] = {}  # the same by the version as file names write it

    def release(filename: str) -> ShownRelease:
        text = version_text(filename, project) or ""
        if (known := written.get(text)) is not None:
            return known
        version = version_of(filename, project)
        key = text if version is None else version
        if key not in found:
            shown = text if version is None else str(version)
            found[key] = ShownRelease(shown, (version is not None, version or Version("0"), shown))
        written[text] = found[key]
        return found[key]

    for file in files:
        if is_here(file):
            release(file.filename).files.append(file)
        else:
            of = release(file.filename)
            of.absent.append(AbsentFile(file.filename, why_not(file, details=details)))
    for problem in refused:
        if problem.file:
            reason = _reason(problem.reason, problem.message, details=details)
            release(problem.file).absent.append(AbsentFile(line(problem.file, 200), reason))
    return sorted(found.values(), key=lambda each: each.order, reverse=True)


def is_here(file: ShownFile) -> bool:
    """Whether the project's simple page lists the file."""
    return file.state in PROVEN or (bool(file.linked) and file.state != State.WITHDRAWN)


def main_release(releases: list[ShownRelease]) -> ShownRelease | None:
    """Return the release that an installer takes: the newest final one that is not yanked."""
    held = [each for each in releases if each.files]
    good = (each for each in held if not each.is_yanked)
    final = next((each for each in held if each.is_final and not each.is_yanked), None)
    return final or next(good, None) or next(iter(held), None)


def why_not(file: ShownFile, *, details: bool) -> str:
    """Return why a file is not here, as a sentence without its subject."""
    if file.removal_cause is not None:
        return _CAUSES.get(Cause(file.removal_cause), _STATES[State.WITHDRAWN.label])
    state = _STATES.get(word(file.state, file.last_error), "it is not on the page yet")
    if not file.last_error:
        return state
    reason, _, message = file.last_error.partition(": ")
    try:
        return f"{state}. {_reason(Reason(reason), message, details=details)}"
    except ValueError:
        return state


def _reason(reason: Reason, message: str, *, details: bool) -> str:
    if details:
        return line(message)
    told = REASONS.get(reason)
    return told.meaning if told is not None else reason.value


def told(file: ShownFile) -> str:
    """Return the size of a file and the day of its upload, as far as they are known."""
    parts = [] if file.size is None else [amount(file.size)]
    parts += [file.upload_time[:10]] if file.upload_time else []
    return ", ".join(parts)


def proof(file: ShownFile) -> str:
    """Return how a file is proven, as a sentence without its subject; "" if it is not."""
    if file.proof is None:
        return ""
    words = _PROOFS[Proof(file.proof)]
    return words.format(algorithm=file.proof_algorithm or "", source=line(file.proof_source, 60))
