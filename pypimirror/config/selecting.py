"""The keys of `[select]`, `[[select.rules]]` and `[on_demand]`: their meaning and valid values."""

from __future__ import annotations

import glob
import os
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pypimirror.config.model import Field, Model
from pypimirror.domain.checked import After, Before
from pypimirror.domain.durations import Duration
from pypimirror.domain.formats import FileType
from pypimirror.domain.metadata.fields import FIELDS
from pypimirror.domain.sizes import ByteSize, Size


def _moment(value: object) -> datetime:
    """Read a date, or a date and time. A date is the start of that day, and UTC is the default."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            value = None
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        raise ValueError("must be a date, or a date and time, such as 2026-01-31T12:00:00Z")
    return value if value.tzinfo else value.replace(tzinfo=UTC)


Moment = Annotated[datetime, Before(_moment)]


def _fields(values: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    found = {name.lower().replace("_", "-"): texts for name, texts in values.items()}
    for name in found:
        if name not in FIELDS:
            known = ", ".join(sorted(FIELDS))
            raise ValueError(f"{name!r} is not a known field of core metadata; known are {known}")
    return found


MetadataKeys = Annotated[dict[str, tuple[str, ...]], After(_fields)]


class RuleKeys(Model):
    """Conditions on files. A file is mirrored only if it meets all of them."""

    files: tuple[str, ...] = Field(
        ("*",), description="Globs or regular expressions (`/cp3(11|12)/`). A file name must match "
        "one of them."
    )  # fmt: skip
    exclude_files: tuple[str, ...] = Field(
        (), description="Globs or regular expressions. A file name must match none of them."
    )
    versions: tuple[str, ...] = Field(
        (), description="Specifiers (`>=2,<3`), globs (`1.*`) or regular expressions "
        "(`/rc[0-9]+$/`). The version must match one of them. Empty: all."
    )  # fmt: skip
    exclude_versions: tuple[str, ...] = Field(
        (), description="The same forms. The version must match none of them."
    )
    types: tuple[FileType, ...] = Field(
        (), description="Kinds of files: `wheel`, `sdist` or `other` (eggs, installers and so on). "
        "Empty: all."
    )  # fmt: skip
    python: tuple[str, ...] = Field(
        (), description="Versions of CPython to mirror for, such as `3.12`, or `3.13t` without the "
        "GIL. A wheel that none of them can install is left out. So is a file whose "
        "requires-python excludes all of them. Empty: all."
    )  # fmt: skip
    platforms: tuple[str, ...] = Field(
        (), description="Platforms to mirror wheels for. For each platform, give the newest tag "
        "that it accepts (`manylinux_2_28_x86_64`, `musllinux_1_2_aarch64`, `macosx_14_0_arm64`, "
        "`ios_18_0_arm64_iphoneos`, `android_34_arm64_v8a`); older tags are included. Other tags "
        "stand alone (`win_amd64`, `pyemscripten_2026_0_wasm32`). `any` means wheels for all "
        "platforms. Empty: all."
    )  # fmt: skip
    abi: tuple[str, ...] = Field(
        (), description="ABI tags of wheels, such as `cp312`, `abi3` and `none`. Empty: the tags "
        "that `python` implies, or all."
    )  # fmt: skip
    prereleases: bool = Field(True, description="Whether pre-releases are mirrored.")
    yanked: bool = Field(True, description="Whether yanked files are mirrored, with their mark.")
    older_than: Duration | None = Field(
        None, description="Minimum age of a file, such as `7d`. It gives others time to find "
        "malware. A file without upload time is left out."
    )  # fmt: skip
    younger_than: Duration | None = Field(
        None, description="Age at which a file is dropped. A file without upload time is left "
        "out."
    )  # fmt: skip
    uploaded_after: Moment | None = Field(
        None, description="Only files uploaded at or after this date, or date and time."
    )
    uploaded_before: Moment | None = Field(
        None, description="Only files uploaded before this time."
    )
    max_file_size: Size | None = Field(
        None, description="Maximum size that the upstream may state. Files of unknown size pass."
    )
    metadata: MetadataKeys = Field(
        {}, description="Core metadata of a release, by field. In each named field, one value must "
        "match one of the globs or regular expressions, for example `{ classifier = [\"License :: "
        "OSI Approved :: *\"] }`. `license` also means License-Expression. The metadata is read "
        "from the `.metadata` files of wheels. A release without one is left out."
    )  # fmt: skip
    exclude_metadata: MetadataKeys = Field(
        {}, description="The same forms. No value of these fields may match. A release without "
        "core metadata passes."
    )  # fmt: skip
    at_least: int = Field(
        0, ge=0, description="With `younger_than`: minimum number of releases to keep. If fewer "
        "are young enough, the youngest of the older ones stay, so that a quiet project does not "
        "vanish."
    )  # fmt: skip
    latest: int = Field(
        0, ge=0, description="Only the newest N of the releases that pass all other keys; 0 = all."
    )
    latest_by: Literal["version", "time"] = Field(
        "version", description="How `latest` sorts releases: by version, or by the time when the "
        "first file was uploaded."
    )  # fmt: skip
    min_versions: int = Field(
        0, ge=0, description="Minimum number of releases that pass the other keys, before `latest` "
        "applies. If a project has fewer, none of its files is mirrored."
    )  # fmt: skip
    max_versions: int = Field(
        0, ge=0, description="Maximum number of releases that pass the other keys. If a project "
        "has more, none of its files is mirrored; 0 = no limit."
    )  # fmt: skip
    max_project_size: Size | None = Field(
        None, description="Maximum total size of the files that pass the other keys, as far as "
        "sizes are known. If a project is larger, none of its files is mirrored."
    )  # fmt: skip


#: Entries that name a file with more entries: `-r requirements.txt` and `@names.txt`.
_FILE = re.compile(r"(?P<kind>-r\s+|--requirement(?:\s+|=)|@\s*)(?P<path>\S.*)")


def _beside(entries: tuple[str, ...], base: Path) -> tuple[str, ...]:
    """Make the paths in entries such as `@names.txt` absolute."""
    return tuple(
        f"{found['kind']}{base / found['path']}" if (found := _FILE.fullmatch(text)) else text
        for text in entries
    )


def _glob_beside(text: str, base: Path) -> str:
    """Make a glob of paths absolute. Special characters in the name of the directory are
    escaped.
    """
    return os.path.join(glob.escape(str(base)), text)  # noqa: PTH118 - it is no path


class SelectRule(RuleKeys):
    """Other values for some projects, for every key of `[select]` from `files` on. If several rules
    set a key for a project, the last one wins; if none does, the value of `[select]` applies. A
    size of `0`, an age of `0s` or an empty list lifts the limit of `[select]`.
    """

    projects: tuple[str, ...] = Field(
        min_length=1, description="Names, globs and regular expressions of the projects."
    )
    metadata_only: bool | None = Field(
        None, description="Whether the pages of these projects link to the upstream's files. "
        "Overrides `metadata_only` of `[select]`."
    )  # fmt: skip


class Entries(Model):
    """Which projects are mirrored, and which of their releases."""

    projects: tuple[str, ...] = Field(
        (),
        description="Names, requirements (`requests>=2.30`: only files of matching versions, "
        "pre-releases included), globs (`zope.*`), regular expressions (`/^acme-/`), requirements "
        "files (`-r requirements.txt`) and files with one entry to a line (`@names.txt`), in the "
        "encodings that pip reads. Empty: all, or with `[on_demand]` none.",
    )
    exclude: tuple[str, ...] = Field(
        (), description="The same forms. Wins over `projects`. `!zope.interface` cancels the "
        "earlier entries for that project."
    )  # fmt: skip
    metadata_only: tuple[str, ...] = Field(
        (), description="The same forms. These selected projects, or these releases of them, get "
        "pages here that link to the upstream's files. No file of theirs is downloaded or held."
    )  # fmt: skip


class SelectSection(RuleKeys, Entries):
    """What is mirrored. A change takes effect at the next sync, also for files that are here
    already.
    """

    locks: tuple[str, ...] = Field(
        (), description="Lock files, or globs of them (`apps/*/uv.lock`), relative to this file: "
        "`uv.lock`, `pylock.toml`, `poetry.lock`, `pdm.lock`, `Pipfile.lock`, and requirements "
        "that are all pinned, in a `.txt` file. The mirror then has exactly the files that the "
        "locks name, and the projects of `projects`. With `python` or `platforms`, only files that "
        "these environments need are mirrored."
    )  # fmt: skip
    check: bool = Field(
        False, description="Whether each sync that changed anything ends with `pypimirror check` "
        "of all that `projects` names and of all requirements files and locks, for `python` and "
        "`platforms`. If something cannot be installed from the mirror, the run has a failure "
        "(`incomplete`). Needs uv: `pip install 'pypimirror[resolve]'`."
    )  # fmt: skip
    dependencies: Literal["", "all", "resolved"] = Field(
        "", description="Which dependencies are mirrored too. `all`: every project that the core "
        "metadata of selected files requires, in any environment of `python` and `platforms`, in "
        "all allowed versions, and the dependencies of these projects in turn. Requested extras "
        "count; `exclude` wins. `resolved`: uv resolves `projects` at each sync, and exactly the "
        "result is mirrored. Each requirements file is resolved by itself, and all other names "
        "together, for all platforms and from the oldest version of `python` on. The result is "
        "stored as a `pylock.toml` in the private directory. Needs uv: "
        "`pip install 'pypimirror[resolve]'`."
    )  # fmt: skip
    build_dependencies: bool = Field(
        False, description='With `dependencies = "all"`: whether to mirror the build dependencies '
        "of sdists too, from `[build-system] requires` in their pyproject.toml."
    )  # fmt: skip
    max_dependencies: int = Field(
        5000, ge=1, description='With `dependencies = "all"`: maximum number of projects that are '
        "mirrored only as dependencies. With more, a sync fails before it removes anything."
    )  # fmt: skip
    rules: tuple[SelectRule, ...] = Field(
        (), description="Other keys for some projects; see `[[select.rules]]`."
    )

    def beside(self, base: Path) -> SelectSection:
        """Return the section with its file paths resolved against the directory `base`."""
        rules = tuple(
            rule.model_copy(update={"projects": _beside(rule.projects, base)})
            for rule in self.rules
        )
        named = {key: _beside(getattr(self, key), base) for key in Entries.model_fields}
        locks = tuple(_glob_beside(text, base) for text in self.locks)
        return self.model_copy(update={"rules": rules, "locks": locks, **named})


class OnDemandSection(Model):
    """Files that the web server fetches when a client asks for them. The mirror verifies and keeps
    them like any other file. The keys of `[select]` from `exclude` on, and `[[select.rules]]`,
    decide on these files as well.
    """

    projects: tuple[str, ...] = Field(
        (),
        description="The projects that clients may ask for, in the forms of `[select]`; `*` means "
        "all. Empty: none. If it is set, `[select]` mirrors nothing unless its `projects` or "
        '`locks` are set, too. It needs `layout = "project"` in `[mirror]`, so that the address of '
        "a file names its project.",
    )
    fresh: Duration = Field(
        timedelta(minutes=10),
        description="How long a project's page is believed before the upstream is asked again.",
    )
    max_size: Size = Field(
        ByteSize(200 << 30),
        description="Maximum total size of the files that clients asked for and `[select]` does "
        "not select. If they take more, the least recently used ones are removed; 0 = no limit.",
    )
    keep: Duration = Field(
        timedelta(days=90),
        description="Such a file is removed if no client asked for it in this time. `0s`: never.",
    )

    def beside(self, base: Path) -> OnDemandSection:
        """Return the section with its file paths resolved against the directory `base`."""
        return self.model_copy(update={"projects": _beside(self.projects, base)})
