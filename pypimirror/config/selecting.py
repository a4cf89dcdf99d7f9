"""The keys of `[select]` and of `[[select.rules]]`: what they mean, what they may say."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from pypimirror.domain.core_metadata import FIELDS
from pypimirror.domain.durations import Duration
from pypimirror.domain.formats import FileType
from pypimirror.domain.sizes import Size


def _midnight(value: object) -> object:
    """Let a bare date stand for its beginning."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value


def _aware(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


Moment = Annotated[datetime, BeforeValidator(_midnight), AfterValidator(_aware)]


def _fields(values: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    found = {name.lower().replace("_", "-"): texts for name, texts in values.items()}
    for name in found:
        if name not in FIELDS:
            known = ", ".join(sorted(FIELDS))
            raise ValueError(
                f"{name!r} is no field of core metadata that is known; there are {known}"
            )
    return found


MetadataKeys = Annotated[dict[str, tuple[str, ...]], AfterValidator(_fields)]


class RuleKeys(BaseModel):
    """What a file must be to be mirrored. All keys together decide."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    files: tuple[str, ...] = Field(
        ("*",), description="Globs, or regular expressions (`/cp3(11|12)/`), one of which a file "
        "name must match."
    )  # fmt: skip
    exclude_files: tuple[str, ...] = Field(
        (), description="The same; none of them may a file name match."
    )
    versions: tuple[str, ...] = Field(
        (), description="One of these must match the version: specifiers (`>=2,<3`), globs (`1.*`) "
        "or regular expressions (`/rc[0-9]+$/`)."
    )  # fmt: skip
    exclude_versions: tuple[str, ...] = Field(
        (), description="The same; none of them may match the version."
    )
    types: tuple[FileType, ...] = Field(
        (), description="Kinds of files: `wheel`, `sdist`, `other` (eggs, installers and the "
        "like). Empty: all."
    )  # fmt: skip
    python: tuple[str, ...] = Field(
        (), description="Versions of CPython to mirror for, such as `3.12`, or `3.13t` without the "
        "GIL: wheels that none of them can install are left out, and so is every file whose "
        "requires-python admits none of them. Empty: all."
    )  # fmt: skip
    platforms: tuple[str, ...] = Field(
        (), description="Platforms to mirror wheels for: the tag of the newest wheels that they "
        "take (`manylinux_2_28_x86_64`, `musllinux_1_2_aarch64`, `macosx_14_0_arm64`, "
        "`ios_18_0_arm64_iphoneos`, `android_34_arm64_v8a`), older ones are included; tags without "
        "older ones (`win_amd64`, `pyemscripten_2026_0_wasm32`); and `any` for wheels that fit "
        "all. Empty: all."
    )  # fmt: skip
    abi: tuple[str, ...] = Field(
        (), description="ABI tags of wheels, such as `cp312`, `abi3` and `none`. Empty: those of "
        "`python`, else all."
    )  # fmt: skip
    prereleases: bool = Field(True, description="Whether pre-releases are mirrored.")
    yanked: bool = Field(True, description="Whether yanked files are mirrored, with their mark.")
    older_than: Duration | None = Field(
        None, description="Age that a file must have reached, as in `7d`: others may find the "
        "malware first. A file without upload time does not pass."
    )  # fmt: skip
    younger_than: Duration | None = Field(
        None, description="Age at which a file is dropped. A file without upload time does not "
        "pass."
    )  # fmt: skip
    uploaded_after: Moment | None = Field(
        None, description="Only files uploaded at this time or later: a date, or a date and time."
    )
    uploaded_before: Moment | None = Field(
        None, description="Only files uploaded before this time."
    )
    max_file_size: Size | None = Field(
        None, description="No larger file, as the upstream says; one of unknown size passes."
    )
    metadata: MetadataKeys = Field(
        {}, description="Core metadata of a release, by field: of each field named, one value must "
        "match one of the globs or regular expressions, as in `{ classifier = [\"License :: OSI "
        "Approved :: *\"] }`. `license` means License-Expression, too. Read from the wheels' "
        "`.metadata`; a release without any does not pass."
    )  # fmt: skip
    exclude_metadata: MetadataKeys = Field(
        {}, description="The same; no value of these fields may match. A release without core "
        "metadata passes."
    )  # fmt: skip
    at_least: int = Field(
        0, ge=0, description="With `younger_than`: where fewer releases than this are young "
        "enough, the youngest of the others stay, so that a quiet project does not vanish."
    )  # fmt: skip
    latest: int = Field(
        0, ge=0, description="Of the releases that all else lets through, the newest N; 0 = all."
    )
    latest_by: Literal["version", "time"] = Field(
        "version", description="What makes a release new: its version, or when its first file was "
        "uploaded."
    )  # fmt: skip
    min_versions: int = Field(
        0, ge=0, description="A project of which fewer releases than this are left, before "
        "`latest` is looked at, has no file mirrored."
    )  # fmt: skip
    max_versions: int = Field(
        0, ge=0, description="A project of which more releases than this are left has no file "
        "mirrored; 0 = no limit."
    )  # fmt: skip
    max_project_size: Size | None = Field(
        None, description="A project of which more than this is left, as far as sizes are known, "
        "has no file mirrored."
    )  # fmt: skip


#: Entries that stand for what a file has: `-r requirements.txt` and `@names.txt`.
_FILE = re.compile(r"(?P<kind>-r\s+|--requirement(?:\s+|=)|@\s*)(?P<path>\S.*)")


def _beside(entries: tuple[str, ...], base: Path) -> tuple[str, ...]:
    """Make the files that are named absolute."""
    return tuple(
        f"{found['kind']}{base / found['path']}" if (found := _FILE.fullmatch(text)) else text
        for text in entries
    )


class SelectRule(RuleKeys):
    """Other values for some projects: of every key of `[select]` from `files` on. Of several rules
    for one project, the last that has a key decides on it; a key that none has is as in `[select]`.
    A size of `0`, an age of `0s`, or an empty list lifts the limit of `[select]`.
    """

    projects: tuple[str, ...] = Field(
        min_length=1, description="Names, globs and regular expressions of the projects."
    )
    metadata_only: bool | None = Field(
        None, description="Whether the pages of these projects lead to the upstream, whatever "
        "`metadata_only` of `[select]` says."
    )  # fmt: skip


class Entries(BaseModel):
    """Which projects are mirrored, and which of their releases."""

    projects: tuple[str, ...] = Field(
        (),
        description="Names, requirements (`requests>=2.30`: only files of matching versions, "
        "pre-releases included), globs (`zope.*`), regular expressions (`/^acme-/`), requirements "
        "files (`-r requirements.txt`) and files with one entry to a line (`@names.txt`), in the "
        "encodings that pip reads. Empty: all.",
    )
    exclude: tuple[str, ...] = Field(
        (), description="The same forms; wins over `projects`. `!zope.interface` takes back what "
        "the entries before it say of a project."
    )  # fmt: skip
    metadata_only: tuple[str, ...] = Field(
        (), description="The same forms. Of what is selected, these projects, or these releases of "
        "them, have pages here, and their files stay where they are: links lead to the upstream's "
        "own addresses, and no byte is downloaded or held."
    )  # fmt: skip


class SelectSection(RuleKeys, Entries):
    """What is mirrored. Takes effect at the next sync, both ways."""

    rules: tuple[SelectRule, ...] = Field(
        (), description="Other keys for some projects; see `[[select.rules]]`."
    )

    def beside(self, base: Path) -> SelectSection:
        """Return the section with the files that it names relative to the directory `base`."""
        rules = tuple(
            rule.model_copy(update={"projects": _beside(rule.projects, base)})
            for rule in self.rules
        )
        named = {key: _beside(getattr(self, key), base) for key in Entries.model_fields}
        return self.model_copy(update={"rules": rules, **named})
