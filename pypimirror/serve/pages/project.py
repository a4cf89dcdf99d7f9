"""The pages of a project and of one of its versions."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace

import msgspec
from packaging.utils import InvalidName, canonicalize_name

from pypimirror.catalog.database import Connection
from pypimirror.catalog.queries import doubts
from pypimirror.catalog.queries.browsing import shown, summaries
from pypimirror.catalog.queries.browsing.shown import ShownFile, ShownProject
from pypimirror.domain import bounded
from pypimirror.domain.errors import PypimirrorError
from pypimirror.domain.layout import METADATA_SUFFIX, PROVENANCE_SUFFIX, file_path
from pypimirror.domain.model import File, ProjectName
from pypimirror.select.facts import Verdict
from pypimirror.serve.install import install_commands
from pypimirror.serve.pages import releases
from pypimirror.serve.pages.about import About, line, read_file
from pypimirror.serve.pages.releases import ShownRelease
from pypimirror.serve.pages.site import More, Site, ago
from pypimirror.serve.pages.visit import Made, Visit, redirect

#: Most versions and files on one page, unless all are requested; a page then has at most 50 KB.
_VERSIONS, _FILES = 40, 30
#: Keys of `[select]` that decide by the version alone.
_OF_VERSIONS = {"projects", "exclude", "versions", "exclude_versions", "prereleases"}
_COMES = "If an upstream has it, it comes when an installer asks for it."
#: Most dependents and requirements that are named. The catalog may find one dependent more.
_NAMED = summaries.MOST_DEPENDENTS - 1


class _Publisher(msgspec.Struct):
    kind: str = ""
    repository: str = ""
    workflow: str = ""
    email: str = ""


class _Bundle(msgspec.Struct):
    publisher: _Publisher | None = None


class _Provenance(msgspec.Struct):
    attestation_bundles: list[_Bundle] = []


_decode_provenance = msgspec.json.Decoder(_Provenance).decode


@dataclass(frozen=True)
class _Found:
    """The facts in the catalog about a project."""

    row: ShownProject
    releases: list[ShownRelease]
    dependents: list[str]


def page(site: Site, visit: Visit) -> Made:
    """Make the page at `/project/<name>/` or `/project/<name>/<version>/`."""
    match visit.parts[1:]:
        case [name, ""] | [name, _, ""] if name:
            pass
        case [name] | [name, _] if name:
            return redirect(f"{visit.parts[-1]}/")
        case _:
            return site.missing(visit)
    try:
        project = ProjectName(canonicalize_name(name, validate=True))
    except InvalidName:
        return site.missing(visit, "No project has such a name.")
    if project != name:
        return redirect("../" * (len(visit.parts) - 2) + "/".join((project, *visit.parts[2:])))
    with site.reader.read() as connection:
        found = _find(connection, project, details=visit.sees_details)
        if found is None:
            return _missing(site, visit, connection, project)
        if len(visit.parts) == 3:
            return _show(site, visit, connection, found, None)
        version = bounded.version(visit.parts[2])
        for release in found.releases:
            if release.version and (
                release.version == visit.parts[2]
                or (release.is_valid and release.order[1] == version)
            ):
                return _show(site, visit, connection, found, release)
        why = _why_no_version(site, visit, connection, found.row)
    return site.missing(visit, why, More(f"project/{project}/", f"All versions of {project}"))


def _find(connection: Connection, project: ProjectName, *, details: bool) -> _Found | None:
    row = shown.project(connection, project)
    if row is None:
        return None
    known = shown.of_project(connection, row.id)
    refused = doubts.standing_refusals(connection, [project])
    grouped = releases.grouped(project, known, refused, details=details)
    if not grouped and not row.page_on_disk:
        return None
    return _Found(row, grouped, summaries.dependents(connection, project))


def _missing(site: Site, visit: Visit, connection: Connection, project: ProjectName) -> Made:
    """Say why a project is not here, as far as the selection explains it."""
    more = More(f"search?q={project}", "Search for similar names")
    try:
        verdict = site.selection(connection).explain_project(project)
        on_demand = bool(site.config.on_demand.projects)
        asked = site.policy.explain_project(project) if on_demand else verdict
    except (PypimirrorError, OSError):
        return site.missing(visit, f"{project} is not on this mirror.", more)
    if on_demand and asked.selected:
        command = install_commands(f"{visit.root}simple/", project)["pip"]
        text = f"{project} is not on this mirror yet. {_COMES}"
        return site.missing(visit, text, replace(more, command=command))
    if not verdict.selected:
        named = asked.rule != "on_demand.projects"  # or it is only no entry of these
        why = _refusal(visit, asked if named else verdict)
        text = f"{project} is not on this mirror, because {why}."
        return site.missing(visit, text, more)
    text = (
        f"{project} is not on this mirror. It would be mirrored, so no upstream had it at the last "
        "sync. Check its name."
    )
    return site.missing(visit, text, more)


def _why_no_version(site: Site, visit: Visit, connection: Connection, row: ShownProject) -> str:
    """Return why a version is not here, as far as the configuration explains it."""
    text, project = visit.parts[2], ProjectName(row.name)
    shown = f"version {line(text, 60)} of {project}"
    if bounded.version(text) is None:
        return f"This mirror knows no {shown}."
    # An entry or a rule about versions refuses it in any form.
    forms = (f"{project}-{text}.tar.gz", f"{project}-{text}-py3-none-any.whl")
    try:
        on_demand = bool(site.config.on_demand.projects) and site.policy.project(project)
        selection = site.policy if on_demand else site.selection(connection)
        verdicts = selection.explain(project, [File(form, "") for form in forms], site.now())
    except (PypimirrorError, OSError):
        return f"This mirror knows no {shown}."
    if on_demand and any(verdict.selected for verdict in verdicts):
        return f"This mirror has no {shown} yet. {_COMES}"
    if all(map(_is_of_version, verdicts)):
        return f"This mirror has no {shown}, because {_refusal(visit, verdicts[0])}."
    when = "" if row.checked_at is None else f", {ago(row.checked_at, site.now())}"
    return (
        f"This mirror knows no {shown}. No upstream offered it when the page of {project} was last "
        f"fetched{when}, or [select] leaves out all of its files."
    )


def _is_of_version(verdict: Verdict) -> bool:
    """Whether it leaves a file out because of its version."""
    key = verdict.rule.removeprefix("select.")
    return not verdict.selected and (key == verdict.rule or key.rpartition(".")[2] in _OF_VERSIONS)


def _refusal(visit: Visit, verdict: Verdict) -> str:
    """Return what leaves something out. An entry may come from a file, so its place is a path."""
    if visit.sees_details:
        return f"[{verdict.rule}] leaves it out: {verdict.fact}"
    is_key = verdict.rule.startswith(("select.", "on_demand."))
    return f"[{verdict.rule if is_key else 'select'}] leaves it out"


def _show(
    site: Site, visit: Visit, connection: Connection, found: _Found, only: ShownRelease | None
) -> Made:
    project = found.row.name
    main = only or releases.main_release(found.releases)
    about = _about(site, project, main) if main else None
    requires = about.requires[:_NAMED] if about else ()
    everything = "all" in visit.asked.query
    listed = [only] if only else found.releases[: None if everything else _VERSIONS]
    address = f"{visit.root}simple/"
    commands = install_commands(address, f"{project}=={only.version}" if only else project)
    pip = install_commands(address, project)["pip"].removesuffix(project)
    return site.page(
        visit,
        "project.html",
        project=found.row,
        only=only,
        main=main,
        about=about or About(),
        requires=requires,
        here=shown.held(connection, {each.name for each in requires}),
        dependents=found.dependents[:_NAMED],
        more_dependents=len(found.dependents) > _NAMED,
        releases=listed,
        number=len(found.releases),
        with_files=_with_files(listed, main),
        publishers=_publishers(site, project, main.files[:_FILES]) if main else {},
        commands=commands,
        pinned=lambda release: pip + shlex.quote(f"{project}=={release.version}"),
        proof=releases.proof,
        told=releases.told,
        text=line,
        path=lambda file: file_path(project, file.filename, file.location),
    )


def _about(site: Site, project: str, release: ShownRelease) -> About | None:
    file = release.described_by
    if file is None:
        return None
    path = file_path(project, file.filename, file.location)
    if file.metadata_sha256 is not None:
        return site.descriptions.read(path + METADATA_SUFFIX, file.metadata_sha256)
    return None if file.sha256 is None else site.descriptions.read(path, file.sha256)


def _with_files(listed: list[ShownRelease], main: ShownRelease | None) -> set[str]:
    """Return the versions whose files are shown: the main one, and the newest while they fit."""
    chosen = {main.version} if main else set()
    left = _FILES - (len(main.files) if main else 0)
    for release in listed[:5]:
        left -= len(release.files) + len(release.absent)
        if left >= 0:
            chosen.add(release.version)
    return chosen


def _publishers(site: Site, project: str, those: list[ShownFile]) -> dict[str, str]:
    """Return the publishers of files, by file name, from their attestations."""
    found = {}
    for file in those:
        if file.provenance_sha256 is None:
            continue
        path = file_path(project, file.filename, file.location) + PROVENANCE_SUFFIX
        try:
            bundles = _decode_provenance(read_file(site.tree, path) or b"{}").attestation_bundles
        except msgspec.MsgspecError:
            continue
        said = [b.publisher for b in bundles if b.publisher]
        who = [(each.kind, each.repository or each.email, each.workflow) for each in said]
        if known := next((parts for parts in who if parts[1]), None):
            found[file.filename] = line(" ".join(filter(None, known)), 150)
    return found
