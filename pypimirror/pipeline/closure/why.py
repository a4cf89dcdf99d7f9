"""Who needs a project: a short chain to something selected, and the environments. For `explain`."""

from __future__ import annotations

from pypimirror.catalog.database import Connection
from pypimirror.config.settings import Config
from pypimirror.domain.filenames import version_of, version_text
from pypimirror.domain.model import ProjectName
from pypimirror.pipeline.closure.known import Known, compute, told_by
from pypimirror.select.closure.close import Release, TooManyError, chain_of
from pypimirror.select.selection import Selection

#: Releases of a chain that are written out.
_SHOWN = 6


class Why:
    """What the closure says of projects; nothing where there is none."""

    def __init__(self, connection: Connection, config: Config, selection: Selection) -> None:
        self._known: Known | None = None
        if selection.follows:
            try:
                self._known = compute(connection, config, selection)
            except TooManyError:
                return

    def of_project(self, project: ProjectName) -> str:
        """Say who needs a project; "" where nobody but the configuration does."""
        if self._known is None:
            return ""
        demands = self._known.closure.demands.get(project, {}).values()
        needs = [demand for demand in demands if demand.is_need]
        mask = 0
        for demand in needs:
            mask |= demand.environments
        return self._needed(needs[0].by, mask) if needs else ""

    def of_file(self, project: ProjectName, filename: str) -> str:
        """Say who needs the release of a file; "" where the configuration selects it itself."""
        if self._known is None:
            return ""
        found = self._known.closure.of(project, version_of(filename, project))
        return "" if found is None else self._needed(*found)

    def unknown(self, project: ProjectName, filename: str) -> str:
        """Say why it is not known what the release of a file requires; "" where it is."""
        if self._known is None:
            return ""
        shown = version_text(filename, project) or ""
        found = (e.why for e in self._known.unknown() if (e.project, e.version) == (project, shown))
        return next((f"what it requires is not known: {why}" for why in found), "")

    def _needed(self, by: Release | None, mask: int) -> str:
        if by is None or self._known is None:
            return ""
        first, *rest = (told_by(release) for release in chain_of(by))
        further = [f"needed by {each}" for each in rest]
        if len(further) > _SHOWN:
            further[_SHOWN - 1 : -1] = ["…"]
        chain = ", ".join([*further, "selected"])
        return f"needed by {first} ({chain}), {self._known.masks.told(mask)}"
