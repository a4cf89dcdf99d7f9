"""Why a project is needed: a short chain from something selected, and the environments."""

from __future__ import annotations

from pypimirror.catalog.database import Connection
from pypimirror.config.settings import Config
from pypimirror.domain.filenames import version_of, version_text
from pypimirror.domain.model import ProjectName
from pypimirror.pipeline.closure.known import KnownClosure, compute, told_by
from pypimirror.select.closure.close import ClosureRelease, TooManyError, chain_of
from pypimirror.select.selection import Selection

#: Most releases of a chain that are shown.
_SHOWN = 6


class Why:
    """The reasons why projects are needed. It is empty without dependencies."""

    def __init__(self, connection: Connection, config: Config, selection: Selection) -> None:
        self._known: KnownClosure | None = None
        if selection.follows:
            try:
                self._known = compute(connection, config, selection)
            except TooManyError:
                return

    def of_project(self, project: ProjectName) -> str:
        """Return who needs a project; "" if only the configuration does."""
        if self._known is None:
            return ""
        demands = self._known.closure.demands.get(project, {}).values()
        needs = [demand for demand in demands if demand.is_need]
        mask = 0
        for demand in needs:
            mask |= demand.environments
        return self._needed(needs[0].by, mask) if needs else ""

    def of_file(self, project: ProjectName, filename: str) -> str:
        """Return who needs the release of a file; "" if the configuration itself selects it."""
        if self._known is None:
            return ""
        found = self._known.closure.of(project, version_of(filename, project))
        return "" if found is None else self._needed(*found)

    def unknown(self, project: ProjectName, filename: str) -> str:
        """Return why the requirements of a file's release are unknown; "" if they are known."""
        if self._known is None:
            return ""
        shown = version_text(filename, project) or ""
        found = (e.why for e in self._known.unknown() if (e.project, e.version) == (project, shown))
        return next((f"what it requires is not known: {why}" for why in found), "")

    def _needed(self, by: ClosureRelease | None, mask: int) -> str:
        if by is None or self._known is None:
            return ""
        first, *rest = (told_by(release) for release in chain_of(by))
        further = [f"needed by {each}" for each in rest]
        if len(further) > _SHOWN:
            further[_SHOWN - 1 : -1] = ["…"]
        chain = ", ".join([*further, "selected"])
        return f"needed by {first} ({chain}), {self._known.masks.told(mask)}"
