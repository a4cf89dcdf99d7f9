"""`[select] dependencies = "resolved"`: resolve `projects`, and mirror exactly the result.

The rules:

* A set is a group of requirements that are installed together. Each requirements file is a set, and
  so are all entries together that name one project. Globs and regular expressions select as usual.
* The upstreams are asked, in their order. uv goes through a proxy of this program
  (`pypimirror.resolve.proxy`), so it asks only the hosts that a download may ask, by the same ways.
  Each set is resolved once for all platforms, from the oldest declared Python on. If that has no
  solution, it is resolved separately for each declared environment.
* The result is a lock like any other (`pypimirror.select.locked`). The catalog has it, so it counts
  on all machines. A copy for people is `pylock.<set>.toml` in the private directory; users who want
  to keep it copy and commit it.
* All sets are resolved before any result is stored. If one fails, the run fails with the resolver's
  reason: nothing is removed, and the last results stay.
* Each sync of the whole mirror resolves again, so that new releases arrive. A sync of some
  projects, and a retry, use the stored results.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from msgspec import Struct
from msgspec.structs import replace

from pypimirror.catalog.marks import RESOLVED
from pypimirror.catalog.queries import marks
from pypimirror.check import subjects, targets
from pypimirror.check.subjects import PROJECTS, Wanted
from pypimirror.check.targets import Target
from pypimirror.config.sections import UpstreamSection
from pypimirror.config.settings import Config, ConfigError
from pypimirror.domain import bounded
from pypimirror.domain.addresses import redacted
from pypimirror.domain.model import Problem, Reason
from pypimirror.domain.sizes import number_of
from pypimirror.pipeline.context.remotes import places, remotes
from pypimirror.pipeline.run import Run, StoppedError
from pypimirror.resolve import uv
from pypimirror.resolve.uv import (
    Environment,
    Indexes,
    NoResultError,
    NoSolutionError,
    ResolveError,
    ResolveRequest,
)
from pypimirror.select import locked
from pypimirror.select.selection import Selection

if TYPE_CHECKING:
    from pypimirror.resolve.proxy import ResolverProxy

_MOST_TOLD = 3  #: refused hosts in a message
#: Asks uv about a set in an environment; see `_ask`.
_Ask = Callable[[Wanted, Environment], str]
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


class Resolution(Struct, frozen=True):
    """The result for a set, as a lock."""

    name: str  #: name of its file
    text: str
    said: str  #: description of the set and its environment


def apply(run: Run, *, keep: bool = True) -> Run:
    """Return the run with the resolved releases as its selection, if the configuration asks for it.

    Without `keep`, only the catalog is written to. Raises `StoppedError` and `ConfigError`.
    """
    if run.config.select.dependencies != "resolved" or run.command != "sync":
        return run
    directory = run.workspace.private / locked.RESOLVED
    with run.catalog.read() as connection:
        before = marks.read(connection, RESOLVED)
    if (run.names is not None or run.retry is not None) and locked.kept(directory, before):
        return run
    run.reporter.announce("Resolving what [select] projects names")
    proxy = _proxy(run.config)
    found = list(resolve(run.config, proxy, run.cancelled))
    for refusal in proxy.refused:
        run.reporter.announce(f"uv was kept from a host: {refusal}")
    texts = {each.name: each.text for each in found}
    if texts != before:
        with run.catalog.write() as connection:
            marks.write(connection, RESOLVED, texts)
    changed = run.workspace.keep(directory, texts) if keep else set()
    for each in found:
        if not keep:
            run.reporter.announce(each.said)
        elif each.name in changed:
            run.reporter.announce(f"{each.said}; kept in {directory / each.name}")
    return replace(run, selection=Selection(run.config, texts))


def resolve(
    config: Config, proxy: ResolverProxy, cancelled: threading.Event | None = None
) -> Iterator[Resolution]:
    """Yield the result for each set; uv goes through `proxy`.

    Raises `StoppedError`, `ConfigError`, and `Cancelled` soon after `cancelled` is set.
    """
    sets = subjects.of_config(config)
    if not sets:
        fault = 'select.dependencies: "resolved" needs names or requirements in select.projects'
        raise ConfigError(config.blame(fault))
    names = _names(sets)
    with TemporaryDirectory(prefix="pypimirror-uv-") as cache, proxy:
        try:
            ask = partial(_ask, _index(config, proxy.url, cache), cancelled)
            for wanted in sets:
                yield from _resolved(config, wanted, names[wanted.name], ask)
        except ResolveError as error:
            raise StoppedError(_problem(error, proxy)) from error


def _problem(error: ResolveError, proxy: ResolverProxy) -> Problem:
    """Return the failure of a resolution. It also says which hosts uv was not allowed to ask."""
    parts = [str(error), *(proxy.refused or proxy.failed)[:_MOST_TOLD]]
    parts.append("Nothing has changed here: the last resolution stays")
    is_away = isinstance(error, NoResultError) and not proxy.refused
    reason = Reason.CONNECTION if is_away else Reason.CONFIGURATION
    return Problem(reason, ". ".join(part.rstrip(".") for part in parts))


def _resolved(config: Config, wanted: Wanted, name: str, ask: _Ask) -> Iterator[Resolution]:
    """Resolve a set for all platforms at once, else for each environment."""
    select = config.select
    declared = targets.chosen((), (), select.python, select.platforms)
    oldest = min((target.python.rstrip("t") for target in declared), key=_by_number)
    everywhere = Environment(oldest if select.python else None, universal=True)
    try:
        text = ask(wanted, everywhere)
    except NoSolutionError as error:
        if not (select.python or select.platforms):
            raise NoSolutionError(f"{wanted.name}: {error}") from error
    else:
        yield _made(wanted, name, text, f"Python {oldest} and later, all platforms")
        return
    for target in declared:
        yield _resolved_for(wanted, name, target, ask)


def _resolved_for(wanted: Wanted, name: str, target: Target, ask: _Ask) -> Resolution:
    environment = target.resolved_for
    if environment is None:
        raise ResolveError(
            f"{wanted.name}: uv cannot resolve for {target.platform}, and there is no solution for "
            "all platforms at once"
        )
    try:
        text = ask(wanted, environment)
    except NoSolutionError as error:
        raise NoSolutionError(f"{wanted.name}, {target}: {error}") from error
    python = target.python.replace(".", "-")
    return _made(wanted, f"{name}-{python}-{target.platform}", text, str(target))


def _ask(
    index: Indexes, cancelled: threading.Event | None, wanted: Wanted, environment: Environment
) -> str:
    question = ResolveRequest(
        tuple(str(each) for each in wanted.requirements),
        tuple(str(each) for each in wanted.constraints),
        environment,
    )
    return uv.find().resolve(question, index, cancelled=cancelled)


def _made(wanted: Wanted, name: str, text: str, environment: str) -> Resolution:
    shown = PROJECTS if wanted.name == PROJECTS else Path(wanted.name.split()[-1]).name
    head = (
        f"# {shown}, resolved by pypimirror for {environment}.\n"
        "# To keep this solution, copy the file and name the copy in [select] locks.\n"
    )
    number = text.count("\n[[packages]]")
    said = f"{wanted.name}: {number_of(number, 'release')} resolved for {environment}"
    return Resolution(f"pylock.{name}.toml", head + redacted(text), said)


def _names(sets: list[Wanted]) -> dict[str, str]:
    """Return a name for each set that can be used in a file name: `pylock.<name>.toml`."""
    found: dict[str, str] = {}
    for wanted in sets:
        word = "projects" if wanted.name == PROJECTS else Path(wanted.name.split()[-1]).stem
        word = _NOT_IN_NAMES.sub("-", word) or "requirements"
        further = (f"{word}-{number}" for number in itertools.count(2))
        free = (name for name in itertools.chain([word], further) if name not in found.values())
        found.setdefault(wanted.name, next(free))
    return found


def _by_number(python: str) -> tuple[int, ...]:
    return tuple(bounded.natural(part) or 0 for part in python.split("."))


def _indexes(config: Config) -> list[UpstreamSection]:
    return [upstream for upstream in config.upstream if upstream.kind == "simple"]


def _proxy(config: Config) -> ResolverProxy:
    """Return the proxy to the hosts of the upstreams that uv asks, and of their alternates."""
    from pypimirror.resolve.proxy import ResolverProxy  # it needs requests, which takes a while

    names = {name for upstream in _indexes(config) for name, _ in places(upstream)}
    known = tuple(remote for remote in remotes(config) if remote.name in names)
    return ResolverProxy(known, config.download.timeout)


def _index(config: Config, proxy: str, cache: str) -> Indexes:
    """Return the upstreams in the form that uv needs. Raises `ResolveError`."""
    indexes = _indexes(config)
    if not indexes:
        raise ResolveError('no upstream is an index that uv can ask: kind = "simple" is needed')
    *others, last = [_address(upstream) for upstream in indexes]
    ca_file = next((u.ca_file for u in indexes if u.ca_file), config.download.ca_file)
    return Indexes(last, tuple(others), str(ca_file) if ca_file else None, proxy, cache)


def _address(upstream: UpstreamSection) -> str:
    """Return an upstream's address with its login, as uv needs it."""
    if upstream.token.get_secret_value():
        raise ResolveError(
            f"upstream {upstream.name}: uv sends no bearer tokens; give username and password, or "
            "make the lock elsewhere and name it in select.locks"
        )
    password = upstream.password.get_secret_value()
    if not upstream.username and not password:
        return upstream.url
    login = f"{quote(upstream.username, safe='')}:{quote(password, safe='')}"
    parts = urlsplit(upstream.url)
    return parts._replace(netloc=f"{login}@{parts.netloc}").geturl()
