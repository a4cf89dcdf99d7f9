"""Collect the files of a page: those that can be used, and those that are refused.

The rules for a name that a page offers more than once:

* The same digests: it is one file, and nothing is reported. One claim may have more digests than
  the other, for example if a page links a file with and without its digest: then the file must
  match both. If there are several links, all are kept: first links with a strong digest, then with
  a weak one, then with none.
* Contradicting digests: nobody knows which is right, so neither is taken.
* Contradicting sizes: treated like digests. If a digest covers both claims, neither size counts.
* Other values: a later claim adds what the first one lacks. If both have a value, the first
  counts. A file is yanked if any claim says so.
* Names that differ only by case or Unicode form: the first stays, because some disks cannot have
  both.
"""

from __future__ import annotations

from operator import itemgetter

import msgspec

from pypimirror.domain.filenames import fold, is_variant, printable
from pypimirror.domain.model import DETAILS, File, Problem, Reason
from pypimirror.domain.sizes import number_of
from pypimirror.upstream.checks import MAX_PROBLEMS, Unused, without_credentials
from pypimirror.upstream.claims import rank

#: Most links to one file that are kept. More would only be more places that fail.
MAX_LINKS = 10

#: Values that may contradict each other in two claims. The first one counts.
_FURTHER = (*(name for name in DETAILS if name != "yanked"), "core_metadata", "provenance")

#: Kinds of unused claims.
CONTRADICTED = "the page has two values for one file; the first counts"
TWO_SIZES = "the page has two sizes for one file; neither counts"


class Collector:
    """Collects the files of one page, and the problems of those that are refused."""

    def __init__(self, project: str, unused: Unused | None = None) -> None:
        self.unused = unused or Unused()
        self._project = project
        self._files: dict[str, File] = {}
        #: Files with several links: rank and address of each link, in the order of the page.
        self._links: dict[str, list[tuple[int, str]]] = {}
        self._by_fold: dict[str, str] = {}
        self._contradicted: set[str] = set()
        self._unsized: set[str] = set()
        self._problems: list[Problem] = []
        self._untold = 0
        #: Names of files of variants: they are left out but not refused. At most `MAX_PROBLEMS`.
        self.left_out: dict[str, None] = {}

    def add(self, file: File) -> None:
        """Add a file, if its name is free and it does not belong to a variant."""
        name = file.filename
        if self.leaves_out(name):
            return
        taken = self._by_fold.setdefault(fold(name), name)
        if taken != name:
            other = f"its name differs from {printable(taken)} only by case or Unicode form"
            self.refuse(Reason.DUPLICATE_NAME, other, file=name, url=file.url)
        elif name in self._contradicted:
            return
        elif name not in self._files:
            self._files[name] = file
        else:
            first = self._files[name]
            self._links.setdefault(name, _links_of(first)).extend(_links_of(file))
            self._add_again(first, file)

    def leaves_out(self, name: str) -> bool:
        """Whether a file with this name is left out silently, even if it has faults."""
        if not is_variant(name):
            return False
        if len(self.left_out) < MAX_PROBLEMS:
            self.left_out.setdefault(printable(name))
        return True

    def _add_again(self, first: File, later: File) -> None:
        """Merge a second claim about a file, or refuse both if they contradict each other."""
        name = first.filename
        if fault := _contradiction(first, later):
            message = f"the page offers it twice, with {fault}; neither is taken"
            self.refuse(Reason.DIGEST_CONFLICT, message, file=name, url=first.url)
            self._contradicted.add(name)
            del self._files[name]
            return
        size = later.size if first.size is None and name not in self._unsized else first.size
        if first.size is not None and later.size not in (None, first.size):
            size = None
            self._unsized.add(name)
            self.unused.add(TWO_SIZES, name)
        for field in _FURTHER:
            one, other = getattr(first, field), getattr(later, field)
            if one is not None and other is not None and one != other:
                self.unused.add(CONTRADICTED, f"{field.replace('_', '-')} of {name}")
        values = {field: getattr(first, field) for field in (*_FURTHER, "yanked")}
        values = {f: getattr(later, f) if value is None else value for f, value in values.items()}
        digests = {**first.digests, **later.digests}
        self._files[name] = msgspec.structs.replace(first, digests=digests, size=size, **values)

    def refuse(self, reason: Reason, fault: str, *, file: str = "", url: str = "") -> None:
        """Note that a file was refused. `fault` is a clause about the file, without a full stop."""
        shown = printable(file) or "A file without a name"
        address = printable(without_credentials(url), 300)
        problem = Problem(reason, f"{shown}: {fault}.", self._project, printable(file), address)
        self.refuse_for(problem)

    def refuse_for(self, problem: Problem) -> None:
        """Note the problem of a file."""
        if len(self._problems) < MAX_PROBLEMS:
            self._problems.append(problem)
        else:
            self._untold += 1

    @property
    def files(self) -> tuple[File, ...]:
        """The usable files, in the order of the page."""
        for name, links in self._links.items():
            if name in self._files:
                ranked = dict.fromkeys(url for _, url in sorted(links, key=itemgetter(0)))
                url, *others = list(ranked)[:MAX_LINKS]
                self._files[name] = msgspec.structs.replace(
                    self._files[name], url=url, other_urls=tuple(others)
                )
        return tuple(self._files.values())

    @property
    def is_partial(self) -> bool:
        """Whether files were refused whose names are not reported."""
        return self._untold > 0

    @property
    def problems(self) -> tuple[Problem, ...]:
        """One problem for each refused file, up to `MAX_PROBLEMS`, and one for the rest."""
        if not self._untold:
            return tuple(self._problems)
        message = f"Besides, this page has {number_of(self._untold, 'more refused file')}."
        return (*self._problems, Problem(Reason.BAD_PAGE, message, self._project))


def _links_of(file: File) -> list[tuple[int, str]]:
    first = rank(file.digests)
    return [(first, url) for url in (file.url, *file.other_urls)]


def _contradiction(first: File, later: File) -> str:
    """Return why two claims cannot be about the same bytes; "" if they can."""
    for algorithm, digest in first.digests.items():
        if (other := later.digests.get(algorithm, digest)) != digest:
            return f"{algorithm} {digest} at {first.url} and {other} at {later.url}"
    if first.size is None or later.size in (None, first.size):
        return ""
    if not first.digests.keys().isdisjoint(later.digests):
        return ""  # the bytes are the same, and one of the sizes is wrong
    return f"{first.size} bytes at {first.url} and {later.size} at {later.url}"
