"""Files that leave the selection because the upstream's claims changed, not the configuration.

The rules for a file that is here, is still offered, and is not selected:

1. If the earlier claims would select it, it leaves for its claims (`claims`). The deletion guard
   counts it.
2. If it would be selected without the files that are new on the page, the new files push it out. If
   the selection takes some of the new files, as with `latest`, they replace it (`replaced`). The
   file then stays until each selected release has a file here; otherwise a release that nobody can
   fetch would empty the page. If the selection takes none of them, as with `max_versions`, nothing
   would be left: that counts as `claims`.
3. Every other file leaves because of the configuration or because of time (`selection`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pypimirror.catalog.queries import files, projects
from pypimirror.catalog.records import FileRecord
from pypimirror.catalog.states import OPEN, PROVEN, Cause, State
from pypimirror.domain.filenames import version_text
from pypimirror.domain.model import File, ProjectName, ProjectPage
from pypimirror.pipeline.discover.decisions.comparing import as_before
from pypimirror.pipeline.run import Run
from pypimirror.select.metadata import Metadata

#: States of files that are on pages.
_THERE = PROVEN | {State.LINKED}


def of_page(
    run: Run,
    page: ProjectPage,
    held: Mapping[str, FileRecord],
    selected: Sequence[bool],
    known_metadata: Mapping[str, Metadata],
) -> dict[str, Cause]:
    """Return the cause for each file that a page makes the selection lose.

    `known_metadata` is the core metadata that was read before. `selected` has one value for each of
    `page.files`.
    """
    chosen = {file.filename for file, is_in in zip(page.files, selected, strict=True) if is_in}
    out = {f.filename for f in page.files if f.filename not in chosen and f.filename in held}
    if not out:
        return {}

    def taken(offered: Sequence[File]) -> set[str]:
        choice = run.selection.choose(ProjectName(page.project), offered, run.now, known_metadata)
        return {f.filename for f, is_in in zip(offered, choice.selected, strict=True) if is_in}

    before = as_before(page, held).files
    lost = dict.fromkeys(out & taken(before), Cause.CLAIMS)
    there = [f for f in before if f.filename in held and held[f.filename].state in _THERE]
    if len(there) < len(before):
        newcomers = {f.filename for f in before} - {f.filename for f in there}
        cause = Cause.CLAIMS if newcomers.isdisjoint(chosen) else Cause.REPLACED
        lost = dict.fromkeys(out & taken(there), cause) | lost
    return lost


def waiting(run: Run, project_ids: Iterable[int]) -> set[int]:
    """Return the ids of those projects that have a selected release without any file here yet."""
    here: dict[int, set[str | None]] = defaultdict(set)
    due: dict[int, set[str | None]] = defaultdict(set)
    with run.catalog.read() as connection:
        names = {row.id: row.name for row in projects.get(connection, sorted(set(project_ids)))}
        for file in files.of_projects(connection, list(names)) if names else ():
            if file.removal_cause is None and (file.state in _THERE or file.state in OPEN):
                found = here if file.state in _THERE else due
                project = names[file.project_id]
                found[file.project_id].add(version_text(file.filename, project))
    return {number for number in due if due[number] - here[number]}
