"""The desk's pages: decide whether a page is fresh, and ask the upstream if it is not.

Every answer has the id 0; the desk sets that of the question.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from pypimirror.domain.model import Problem, ProjectName, Reason
from pypimirror.on_demand import judging
from pypimirror.on_demand.judging import NAMES, Known
from pypimirror.on_demand.listing import FileToFetch, Listing
from pypimirror.on_demand.messages import Absent, Away, Final, Here, Refused
from pypimirror.on_demand.once import Once
from pypimirror.on_demand.store import Store
from pypimirror.pipeline.discover import alternates, project_pages
from pypimirror.pipeline.discover.alternates import PageAnswer
from pypimirror.pipeline.discover.kinds.registry import kind_of
from pypimirror.pipeline.discover.lists import listings
from pypimirror.pipeline.run import Run
from pypimirror.system import clock

#: Seconds for which absence is believed, and most absent projects that are remembered.
ABSENCE, MOST_ABSENT = 300.0, 20_000

#: Seconds for which an old page is believed while the upstream does not answer.
WHILE_AWAY = 10.0


class DeskPages:
    """The pages of the projects that may be asked for. Safe to use from several threads.

    The selection of `run` is the policy.
    """

    def __init__(self, run: Run, store: Store) -> None:
        self._run = run
        self._store = store
        self._fresh = run.config.on_demand.fresh.total_seconds()
        self._forms = [NAMES[form] for form in NAMES if form in run.config.publish.formats]
        self._asking: Once[str, Final] = Once(run.lanes.priority.given_up)
        self._absent: OrderedDict[str, tuple[float, Absent]] = OrderedDict()
        self._read_at: dict[str, float] = {}  # pages of links, by the name of the place
        self.asked = 0  #: questions to upstreams

    def page(self, project: str) -> Final:
        """Return the answer to a question for a page."""
        if (refused := self._refused(project)) is not None:
            return refused
        listing = self._store.listing(project)
        now = clock.now()
        if listing is not None and listing.is_fresh(now, self._fresh, self._run.selection.digest):
            if self._store.has_page(project, self._forms):
                return self._here(project, listing, now)
            listing = None  # only a part of the store is here
        if (absent := self._absent.get(project)) is not None and time.monotonic() < absent[0]:
            return absent[1]
        return self._asking.do(project, lambda: self._ask(project, listing))

    def listing(self, project: str, filename: str = "") -> Listing | Final:
        """Return the listing of a project, or why there is none.

        The upstream is asked if the listing is not fresh, unless it has the file. Without a file,
        it is asked in any case.
        """
        if (refused := self._refused(project)) is not None:
            return refused
        digest = self._run.selection.digest
        found = self._store.listing(project)
        if filename and found is not None and found.selection == digest:
            now = clock.now()
            is_enough = not found.is_over(now) and found.file(filename) is not None
            if is_enough or found.is_fresh(now, self._fresh, digest):
                return found
        if filename:
            answer = self.page(project)
        else:
            answer = self._asking.do(project, lambda: self._ask(project, found))
        listing = self._store.listing(project) if isinstance(answer, Here) else None
        return answer if listing is None else listing

    def file(self, project: str, filename: str) -> FileToFetch | Final:
        """Return the file on its project's page, or why there is none to fetch."""
        listing = self.listing(project, filename)
        if not isinstance(listing, Listing):
            return listing
        file = listing.file(filename)
        if filename in listing.refused:
            return Refused(0, listing.refused[filename])
        if file is None:
            told = f"{filename}: is not on the upstream's page of {project}."
            return Absent(0, told, ABSENCE)
        if filename in listing.linked:
            return Refused(0, f"{filename}: stays at the upstream (metadata_only): {file.url}")
        return FileToFetch(project, file, listing, listing.offer(file))

    def _refused(self, project: str) -> Refused | None:
        verdict = self._run.selection.explain_project(ProjectName(project))
        if verdict.selected:
            return None
        why = f"{verdict.rule}: {verdict.fact}" if verdict.fact else verdict.rule
        return Refused(0, f"{project}: {why}")

    def _here(self, project: str, listing: Listing, now: float, warning: str = "") -> Here:
        until = listing.checked_at + self._fresh
        if listing.until is not None:
            until = min(until, listing.until)
        seconds = WHILE_AWAY if warning else max(0.0, until - now)
        return Here(0, self._store.page(project), seconds, warning, held_only=bool(warning))

    def _ask(self, project: str, last: Listing | None) -> Final:
        now = clock.now()
        run = replace(self._run, now=now)
        about = judging.known(run, project)
        failed: Problem | None = None
        for answer in self._answers(run, about, last):
            problem = answer.result.problem
            if problem is None:
                return self._read(run, about, answer, last)
            if problem.reason is not Reason.MISSING:
                failed = problem
                break
        if failed is None:
            absent = Absent(0, f"No upstream has a project {project}.", ABSENCE)
            self._remember(project, absent)
            return absent
        told = f"The upstream could not be asked for {project}: {failed.message}"
        if last is None:
            return Away(0, told)
        if last.selection != run.selection.digest or last.is_over(now):
            position = _position(run, last)
            if position is None:
                return Away(0, told)
            again = PageAnswer(about.row, position, last.result(0), last.place)
            self._keep(run, judging.judge(run, again, about, last.checked_at), about)
        return self._here(project, last, now, told)

    def _answers(self, run: Run, about: Known, last: Listing | None) -> Iterator[PageAnswer]:
        """Ask the owners in turn; after a failure, the alternates of that owner."""
        row = about.row
        for position in run.selection.owners(ProjectName(row.name)):
            upstream = run.config.upstream[position]
            if not kind_of(upstream).has_pages:
                self._renew(run, upstream.name)
            place = (upstream.name, upstream.url)
            candidates = listings.of_row(run, upstream, row)
            job = project_pages.page_job(0, upstream, place, row.name, candidates)
            if last is not None and last.upstream == upstream.name and not last.place:
                job = msgspec.structs.replace(job, etag=last.etag, last_modified=last.last_modified)
            self.asked += 1
            for result in project_pages.ask(run, [job]):
                answer = PageAnswer(row, position, result)
                if result.problem is None or result.problem.reason is Reason.MISSING:
                    yield answer
                else:
                    yield from alternates.instead(run, [answer])

    def _renew(self, run: Run, name: str) -> None:
        """Forget a page of links that is not fresh any more."""
        if time.monotonic() - self._read_at.get(name, 0.0) >= self._fresh:
            run.cache.link_pages.pop(name, None)
            self._read_at[name] = time.monotonic()

    def _read(self, run: Run, about: Known, answer: PageAnswer, last: Listing | None) -> Here:
        """Store a page that was read, or found unchanged."""
        if answer.result.not_modified:
            assert last is not None  # else the question had no validators
            is_same = last.selection == run.selection.digest and not last.is_over(run.now)
            if is_same and self._store.has_page(about.row.name, self._forms):
                listing = msgspec.structs.replace(last, checked_at=run.now)
                self._store.keep(about.row.name, listing, None)
                return self._here(about.row.name, listing, run.now)
            answer = answer._replace(result=last.result(0))
        listing = judging.judge(run, answer, about, run.now)
        self._keep(run, listing, about)
        return self._here(about.row.name, listing, run.now)

    def _keep(self, run: Run, listing: Listing, about: Known) -> None:
        self._store.keep(about.row.name, listing, judging.page_of(run, listing, about))

    def _remember(self, project: str, absent: Absent) -> None:
        self._absent[project] = time.monotonic() + ABSENCE, absent
        self._absent.move_to_end(project)
        while len(self._absent) > MOST_ABSENT:
            self._absent.popitem(last=False)


def _position(run: Run, listing: Listing) -> int | None:
    names = [upstream.name for upstream in run.config.upstream]
    return names.index(listing.upstream) if listing.upstream in names else None
