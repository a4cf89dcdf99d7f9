"""The contents of a page of links, as a value. `discover.links.link_index` makes it."""

from __future__ import annotations

from collections import defaultdict

import msgspec
from msgspec import Struct, field

from pypimirror.domain.filenames import check_filename
from pypimirror.domain.model import File, Problem, ProjectName, ProjectPage
from pypimirror.upstream.collecting import Collector


class Reading(Struct):
    """The files on a page of links, or the problem that kept it from being read."""

    problem: Problem | None = None
    partial: bool = False  #: a linked page could not be read
    by_project: dict[ProjectName, list[File]] = field(default_factory=lambda: defaultdict(list))
    by_name: dict[str, list[File]] = field(default_factory=lambda: defaultdict(list))
    own: set[str] = field(default_factory=set)  #: names that the page itself links to
    refused: dict[ProjectName, list[Problem]] = field(default_factory=lambda: defaultdict(list))

    def page(self, project: str) -> ProjectPage | None:
        """Return the page of a project, or None if it has no files."""
        name = ProjectName(project)
        if name not in self.by_project and name not in self.refused:
            return None
        collected = Collector(project)
        for problem in self.refused.get(name, ()):
            collected.refuse_for(msgspec.structs.replace(problem, project=project))
        for file in self.by_project.get(name, ()):
            if fault := check_filename(file.filename, project):
                collected.refuse_for(fault)
            else:
                collected.add(file)
        files = collected.files
        return ProjectPage(
            project,
            project,
            files=files,
            problems=collected.problems,
            external=tuple(file.filename for file in files if file.filename not in self.own),
            partial=self.partial,
        )

    def offer(self, project: str, filename: str) -> File | None:
        """Return the offer of a file that is known to belong to the project, by its name."""
        collected = Collector(project)
        for file in self.by_name.get(filename, ()):
            collected.add(file)
        return collected.files[0] if collected.files else None
