"""Translates the options of bandersnatch's filter plug-ins into `[select]`.

A filter limits what is mirrored. So a filter that cannot be read is an error and is never ignored:
without its allow list, everything would be mirrored. A filter that `[select]` cannot express is
reported as not possible; then more is mirrored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pypimirror.bandersnatch.draft import Draft, Option, OptionOutcome, OptionResult
from pypimirror.domain.formats import FORMATS, SDIST_ENDINGS
from pypimirror.domain.metadata.fields import FIELDS
from pypimirror.system import texts

#: The plug-ins that come with bandersnatch 8.
PLUGINS = (
    *("allowlist_project", "allowlist_release", "project_requirements"),
    *("project_requirements_pinned", "blocklist_project", "blocklist_release", "regex_project"),
    *("regex_release", "prerelease_release", "latest_release", "exclude_platform"),
    *("size_project_metadata", "versions_count_project_metadata", "regex_project_metadata"),
    *("regex_release_file_metadata", "version_range_project_metadata"),
    *("version_range_release_file_metadata",),
)

#: What must follow the platform in a file's name: anything but the ending of an sdist.
_SDISTS = "|".join(each[1:] for each in SDIST_ENDINGS if not each.startswith(".tar."))
_NO_SDIST = rf"(?!.*\.(?:tar\.\w+|{_SDISTS})$)"
_WINDOWS = (".win32", "-win32", "win_amd64", "win-amd64", "win_arm64", "win-arm64")
_LINUX = (
    *("linux-i686", "linux-x86_64", "linux_armv7l", "linux_armv6l", "manylinux1_i686"),
    *("manylinux1_x86_64", "manylinux2010_i686", "manylinux2010_x86_64", "manylinux2014_x86_64"),
    *("manylinux2014_i686", "manylinux2014_aarch64", "manylinux2014_armv7l", "manylinux2014_ppc64"),
    *("manylinux2014_ppc64le", "manylinux2014_s390x", "-manylinux_", "musllinux"),
)
_SYSTEMS = {
    **dict.fromkeys(("windows", "win"), (_WINDOWS, ("*.msi", "*.exe"))),
    **dict.fromkeys(("macos", "macosx"), (("macosx_", "macosx-"), ("*.dmg",))),
    "freebsd": ((".freebsd", "-freebsd"), ()),
    "linux": (_LINUX, ("*.rpm",)),
}
_PYTHON = re.compile(r"py([23](?:\.[0-9]+)?)")
_FLAGS = re.compile(r"\(\?[aimsux]+\)")
#: PyPI's package types, as `types` of `[select]` has them.
_TYPES = {each.packagetype: each.type for each in FORMATS}


# --- Projects and releases by name ----------------------------------------------------------------


def _enabled(draft: Draft, _value: str) -> OptionResult:
    strangers = [p for p in draft.lines("plugins", "enabled") if p not in (*PLUGINS, "all")]
    if draft.uses("prerelease_release") and not draft.lines("filter_prerelease", "packages"):
        draft.set("select", "prereleases", False)
    if strangers:
        return OptionOutcome.NOT_POSSIBLE, f"plug-ins that pypimirror does not know: {strangers}"
    return OptionOutcome.TAKEN, "what they leave out is in [select]"


def _wanted(draft: Draft, _value: str) -> OptionResult:
    """Translate both kinds of allow lists. If both are there, a project must be on both."""
    listed = [Requirement(line) for line in draft.lines("allowlist", "packages")]
    if not draft.uses("allowlist_project", "allowlist_release"):
        listed = []
    files = list(_requirements_files(draft))
    if not draft.uses("project_requirements", "project_requirements_pinned"):
        files = []
    if not draft.uses("allowlist_release"):
        listed = [Requirement(each.name) for each in listed]
    is_pinned = draft.uses("project_requirements_pinned")
    if not files:
        if not listed:
            return OptionOutcome.NOT_NEEDED, "it names no project"
        return OptionOutcome.TAKEN, draft.extend("select", "projects", list(map(_plain, listed)))
    if is_pinned and not listed:
        line = draft.extend("select", "projects", [f"-r {file}" for file in files])
        return OptionOutcome.TAKEN, f"{line}: with their includes and markers"
    required = [each for file in files for each in _requirements(file)]
    if not is_pinned:
        required = [Requirement(each.name) for each in required]
    names = list(map(_plain, _both(listed, required) if listed else required))
    if not names:
        raise ValueError("no project is on all allow lists; name at least one")
    line = draft.extend("select", "projects", names)
    return OptionOutcome.TAKEN, f"{line}: as the files are now; write `-r FILE` to follow them"


def _both(first: Sequence[Requirement], second: Sequence[Requirement]) -> Iterator[Requirement]:
    for one in first:
        for other in second:
            if canonicalize_name(one.name) == canonicalize_name(other.name):
                both = Requirement(one.name)
                both.specifier = one.specifier & other.specifier
                yield both


def _plain(requirement: Requirement) -> str:
    """Return a requirement without extras and markers, which mean nothing to a mirror."""
    return f"{requirement.name}{requirement.specifier}"


def _requirements_files(draft: Draft) -> Iterator[Path]:
    base = Path(draft.text("allowlist", "requirements_path")).absolute()
    for line in draft.lines("allowlist", "requirements"):
        found = sorted(base.glob(line)) if "*" in line else [base / line]
        if not found or not all(file.is_file() for file in found):
            raise ValueError(f"{base / line}: there is no such file")
        yield from found


def _requirements(file: Path) -> Iterator[Requirement]:
    try:
        lines = texts.read(file).splitlines()
    except texts.TextError as error:
        raise ValueError(f"{file}: {error}") from error
    for line in lines:
        text = f" {line}".split(" #")[0].split(" --hash")[0].strip(" \t\\")
        if text and not text.startswith("-"):
            yield Requirement(text)


def _requirements_path(_draft: Draft, _value: str) -> OptionResult:
    return OptionOutcome.TAKEN, "in the paths of [select] projects"


def _unwanted(draft: Draft, _value: str) -> OptionResult:
    listed = [Requirement(line) for line in draft.lines("blocklist", "packages")]
    if not draft.uses("blocklist_release"):
        listed = [each for each in listed if not each.specifier]
    if not listed:
        return OptionOutcome.NOT_NEEDED, "it names nothing that the enabled plug-ins act on"
    return OptionOutcome.TAKEN, draft.extend("select", "exclude", list(map(_plain, listed)))


def _regex_packages(draft: Draft, _value: str) -> OptionResult:
    patterns = [_expression(line) for line in draft.lines("filter_regex", "packages")]
    line = draft.extend("select", "exclude", patterns)
    return OptionOutcome.TAKEN, f"{line}: matched with normalized names"


def _regex_releases(draft: Draft, _value: str) -> OptionResult:
    patterns = [_expression(line) for line in draft.lines("filter_regex", "releases")]
    return OptionOutcome.TAKEN, draft.extend("select", "exclude_versions", patterns)


def _expression(pattern: str, *, anywhere: bool = False) -> str:
    """Return a regular expression for `[select]` that matches what bandersnatch's matches."""
    flags = found[0] if (found := _FLAGS.match(pattern)) else ""
    text = pattern if anywhere else rf"{flags}\A(?:{pattern[len(flags) :]})"
    re.compile(text)
    return f"/{text}/"


def _prereleases(draft: Draft, _value: str) -> OptionResult:
    names = draft.lines("filter_prerelease", "packages")
    if not names:
        return OptionOutcome.TAKEN, draft.set("select", "prereleases", False)
    plain = re.compile(r"[\w.-]+", re.ASCII)
    entries = [name if plain.fullmatch(name) else _expression(name) for name in names]
    return OptionOutcome.TAKEN, draft.rule(entries, "prereleases", False)


def _keep(draft: Draft, value: str) -> OptionResult:
    if int(value) < 1:
        return OptionOutcome.NOT_NEEDED, "every release is kept"
    line = draft.set("select", "latest", int(value))
    return OptionOutcome.TAKEN, f"{line}: of the releases that the other keys select"


def _sort_by(draft: Draft, value: str) -> OptionResult:
    if value not in ("time", "version"):
        return (
            OptionOutcome.NOT_NEEDED,
            "bandersnatch sorts by version then, and so does pypimirror",
        )
    return OptionOutcome.TAKEN, draft.set("select", "latest_by", value)


# --- Files ----------------------------------------------------------------------------------------


def _platforms(draft: Draft, value: str) -> OptionResult:
    patterns: list[str] = []
    unknown = []
    for tag in value.lower().split():
        if tag in _SYSTEMS:
            marks, globs = _SYSTEMS[tag]
            patterns += [_mark("|".join(map(re.escape, marks))), *globs]
        elif found := _PYTHON.fullmatch(tag):
            digits, dotted = found[1].replace(".", ""), re.escape(found[1])
            patterns.append(_mark(rf"-(?:cp|pp|ip|jy){digits}-|-py{dotted}(?=[-.])"))
        elif tag in (*_WINDOWS, *_LINUX):
            patterns.append(_mark(re.escape(tag)))
        else:
            unknown.append(tag)
    left = f"; bandersnatch does not know {unknown} either" if unknown else ""
    if not patterns:
        return OptionOutcome.NOT_NEEDED, f"it names no platform{left}"
    line = draft.extend("select", "exclude_files", patterns)
    return (
        OptionOutcome.TAKEN,
        f"{line}{left}. `platforms` and `python` can say instead what to include",
    )


def _mark(pattern: str) -> str:
    return f"/(?:{pattern}){_NO_SDIST}/"


def _exempt(draft: Draft) -> list[str]:
    """Return the projects to which limits on whole projects do not apply."""
    return [Requirement(line).name for line in draft.lines("allowlist", "packages")]


def _max_size(draft: Draft, value: str) -> OptionResult:
    found = re.fullmatch(r"([0-9.]+)\s*(?:([KMGTP])I?B?|B|BYTES?)?", value.upper())
    if found is None:
        raise ValueError(f"{value!r} is no size; write one such as 1G")
    size = int(float(found[1]) * 1024 ** (" KMGTP".index(found[2]) if found[2] else 0))
    return _limit(draft, "max_project_size", size)


def _max_versions(draft: Draft, value: str) -> OptionResult:
    return _limit(draft, "max_versions", int(value))


def _limit(draft: Draft, key: str, value: int) -> OptionResult:
    if value < 1:
        return OptionOutcome.NOT_NEEDED, "it is no limit"
    line = draft.set("select", key, value)
    if exempt := _exempt(draft):
        line += f"; {draft.rule(exempt, key, 0)}"
    return OptionOutcome.TAKEN, f"{line}: counted after the other keys"


def _min_versions(draft: Draft, value: str) -> OptionResult:
    return _limit(draft, "min_versions", int(value))


def _search(_draft: Draft, _value: str) -> OptionResult:
    return OptionOutcome.TAKEN, "it decides the form of the regular expressions"


def release_file(draft: Draft, option: str, _value: str) -> OptionResult:
    """Translate a path of `[regex_release_file_metadata]`."""
    section = "regex_release_file_metadata"
    *tags, path = option.split(":")
    is_none = "none" in tags
    lines = draft.lines(section, option)
    if "all" not in tags:
        anywhere = draft.flag(section, "search")
        if path == "release_file.packagetype":
            return _package_types(draft, lines, is_none=is_none, anywhere=anywhere)
        key = "exclude_files" if is_none else "files"
        is_free = is_none or key not in draft.tables.get("select", {})
        if path == "release_file.filename" and is_free:
            patterns = [_expression(line, anywhere=anywhere) for line in lines]
            return OptionOutcome.TAKEN, draft.extend("select", key, patterns)
    return OptionOutcome.NOT_POSSIBLE, "[select] has no key for it"


def _package_types(
    draft: Draft, lines: list[str], *, is_none: bool, anywhere: bool
) -> OptionResult:
    patterns = [re.compile(_expression(line, anywhere=anywhere)[1:-1]) for line in lines]
    kept = [
        kind
        for name, kind in _TYPES.items()
        if any(pattern.search(name) for pattern in patterns) != is_none
    ]
    if not kept or "types" in draft.tables.get("select", {}):
        return OptionOutcome.NOT_POSSIBLE, "it lets no file pass that [select] types knows"
    return OptionOutcome.TAKEN, draft.set("select", "types", list(dict.fromkeys(kept)))


def version_range(draft: Draft, option: str, _value: str) -> OptionResult:
    """Translate a path of `[version_range_release_file_metadata]`."""
    *tags, path = option.split(":")
    versions = draft.lines("version_range_release_file_metadata", option)
    is_plain = all(re.fullmatch(r"[23]\.[0-9]+(?:\.[0-9]+)?", version) for version in versions)
    if path != "release_file.requires_python" or not versions or not is_plain:
        return (
            OptionOutcome.NOT_POSSIBLE,
            "[select] has `python`, for requires-python and versions of it",
        )
    pythons = [".".join(version.split(".")[:2]) for version in versions]
    line = draft.extend("select", "python", pythons)
    missing = "; files without requires-python are mirrored" if "not-null" in tags else ""
    return (
        OptionOutcome.TAKEN,
        f"{line}: also leaves out wheels that none of them installs{missing}",
    )


def project_metadata(draft: Draft, option: str, _value: str) -> OptionResult:
    """Translate a path of `[regex_project_metadata]`."""
    section = "regex_project_metadata"
    *tags, path = option.split(":")
    name = path.removeprefix("info.").replace("_", "-")
    field = "classifier" if name == "classifiers" else name
    if not path.startswith("info.") or field not in FIELDS or "all" in tags:
        return OptionOutcome.NOT_POSSIBLE, "[select] metadata has no such field or mode"
    if "none" not in tags and "not-null" not in tags:
        return (
            OptionOutcome.NOT_POSSIBLE,
            "[select] metadata leaves out releases without the field; write it there if you do not "
            "need those",
        )
    key = "exclude_metadata" if "none" in tags else "metadata"
    fields = dict(draft.tables.get("select", {}).get(key, {}))
    if field in fields:
        return OptionOutcome.NOT_POSSIBLE, f"[select] {key} has this field already"
    anywhere = draft.flag(section, "search")
    fields[field] = [_expression(line, anywhere=anywhere) for line in draft.lines(section, option)]
    return OptionOutcome.TAKEN, f"{draft.set('select', key, fields)}: matched with each release"


def not_read(_draft: Draft, _option: str, _value: str) -> OptionResult:
    """Answer for an option of `[version_range_project_metadata]`."""
    return OptionOutcome.NOT_NEEDED, "bandersnatch 8 documents this section and does not read it"


#: Sections whose options are paths of metadata: the function that translates an option, and what
#: it becomes.
PATHS = {
    "regex_project_metadata": (
        project_metadata,
        "`[select] metadata` for `not-null:`, `exclude_metadata` for `none:`; else not possible",
    ),
    "regex_release_file_metadata": (
        release_file,
        "`types` of `packagetype`, `files` and `exclude_files` of `filename`; else not possible",
    ),
    "version_range_project_metadata": (not_read, "bandersnatch 8 does not read it"),
    "version_range_release_file_metadata": (
        version_range,
        "`python` of `requires_python`; else not possible",
    ),
}

_ALLOW = ("allowlist_project", "allowlist_release")
_REQUIRE = ("project_requirements", "project_requirements_pinned")
_LIMITS = ("size_project_metadata", "versions_count_project_metadata")


def _allowed(draft: Draft, value: str) -> OptionResult:
    if draft.uses(*_ALLOW):
        return _wanted(draft, value)
    return OptionOutcome.TAKEN, "in the rules that lift limits on whole projects"


OPTIONS = (
    Option("plugins", "enabled", "what the plug-ins leave out: `[select]`", _enabled),
    Option("allowlist", "packages", "`[select] projects`", _allowed, plugins=(*_ALLOW, *_LIMITS)),
    Option("allowlist", "requirements", "`[select] projects`, with `-r`", _wanted,
           plugins=_REQUIRE),
    Option("allowlist", "requirements_path", "the same", _requirements_path, plugins=_REQUIRE),
    Option("blocklist", "packages", "`[select] exclude`", _unwanted,
           plugins=("blocklist_project", "blocklist_release")),
    Option("blocklist", "platforms", "`[select] exclude_files`", _platforms,
           plugins=("exclude_platform",)),
    Option("filter_regex", "packages", "`[select] exclude`", _regex_packages,
           plugins=("regex_project",)),
    Option("filter_regex", "releases", "`[select] exclude_versions`", _regex_releases,
           plugins=("regex_release",)),
    Option("filter_prerelease", "packages", "`prereleases = false` in `[[select.rules]]`",
           _prereleases, plugins=("prerelease_release",)),
    Option("latest_release", "keep", "`[select] latest`", _keep, plugins=("latest_release",)),
    Option("latest_release", "sort_by", "`[select] latest_by`", _sort_by,
           plugins=("latest_release",)),
    Option("size_project_metadata", "max_package_size", "`[select] max_project_size`", _max_size,
           plugins=("size_project_metadata",)),
    Option("versions_count_project_metadata", "max_versions", "`[select] max_versions`",
           _max_versions, plugins=("versions_count_project_metadata",)),
    Option("versions_count_project_metadata", "min_versions", "`[select] min_versions`",
           _min_versions, plugins=("versions_count_project_metadata",)),
    Option("regex_release_file_metadata", "search", "the form of regular expressions", _search,
           plugins=("regex_release_file_metadata",)),
    Option("regex_project_metadata", "search", "the same", _search,
           plugins=("regex_project_metadata",)),
)  # fmt: skip
