"""The facts on a file that decide whether it is mirrored, and the decision."""

from __future__ import annotations

from functools import cached_property

from msgspec import Struct
from packaging.version import Version

from pypimirror.domain import moments
from pypimirror.domain.filenames import version_of, version_text
from pypimirror.domain.formats import FileType, format_of
from pypimirror.domain.model import File
from pypimirror.select.metadata import Metadata


class Verdict(Struct, frozen=True):
    """Whether a file is mirrored, and why."""

    selected: bool
    rule: str = ""  #: the key that decided; "" if no rule is against it
    fact: str = ""  #: the fact that decided, with its source
    until: float | None = None  #: seconds since the epoch; None if time changes nothing


class Facts:
    """The facts on one file; each is read when a check asks for it."""

    def __init__(self, project: str, file: File, metadata: Metadata | None = None) -> None:
        self.project = project
        self.file = file
        self.metadata = metadata  #: core metadata of its release, as far as it was read

    @cached_property
    def version(self) -> Version | None:
        """The version that the file name states."""
        return version_of(self.file.filename, self.project)

    @cached_property
    def version_text(self) -> str | None:
        """The version in the file name, as written."""
        return version_text(self.file.filename, self.project)

    @cached_property
    def uploaded(self) -> float | None:
        """When it was uploaded, as the upstream says; seconds since the epoch."""
        return moments.seconds(self.file.upload_time)

    @property
    def release(self) -> Version | str:
        """The release of the file: its version, or the text in place of one."""
        return self.version or self.version_text or ""

    @property
    def upload(self) -> str:
        """When it was uploaded, for people."""
        if self.uploaded is None:
            return "no upload time from the upstream"
        return f"uploaded {self.file.upload_time}, by the upstream"

    @cached_property
    def type(self) -> FileType:
        """Its type in the sense of `[select] types`."""
        form = format_of(self.file.filename)
        return form.type if form else "other"

    @property
    def tag(self) -> str:
        """A wheel's tags, compressed as in its name."""
        return "-".join(self.file.filename[: -len(".whl")].rsplit("-", 3)[1:])
