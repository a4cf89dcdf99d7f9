"""The simulated upstream: an index, a server, faults and a request log in one.

with Simulator() as sim:
    file = sim.add_file("six", *make_wheel("six", "1.0"))
    sim.fault(file, Truncate(at=100), nth=1)
    ...
    assert sim.downloads(file.filename) == 2
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from packaging.utils import canonicalize_name

from tests.simulator import answers
from tests.simulator.directory import offer
from tests.simulator.faults import Fault, Hold, Latency
from tests.simulator.index import Index, IndexFile, IndexProject
from tests.simulator.log import RequestLog, Where, matches, path_of
from tests.simulator.pages import Style
from tests.simulator.tls import make_context
from tests.simulator.wire import Answer, Exchange, Request, Server


@dataclass(eq=False)
class Rule:
    """A fault, with where and when it acts."""

    path: str
    fault: Fault
    first: int  #: the first matching request on which it acts, from 1
    last: int | None  #: the last one; None for all
    each: bool  #: whether the requests of each path are counted apart
    method: str | None
    seen: dict[str, int] = field(default_factory=dict)
    hits: int = 0

    def applies(self, request: Request) -> bool:
        """Count the request; True if the fault acts on it."""
        if self.method is not None and self.method != request.method:
            return False
        if not matches(self.path, request.path):
            return False
        key = request.path if self.each else ""
        count = self.seen[key] = self.seen.get(key, 0) + 1
        if count < self.first or (self.last is not None and count > self.last):
            return False
        self.hits += 1
        return True


def release(rules: Iterable[Rule]) -> None:
    """Release the requests that these rules hold."""
    for rule in rules:
        if isinstance(rule.fault, Hold):
            rule.fault.release()


class Simulator(RequestLog):
    """An upstream on loopback. All attributes may be changed at any time."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: bool = False,
        api_version: str | None = "1.4",
        formats: Iterable[str] = ("json", "html"),
        serials: bool = True,
        etags: bool = True,
        layout: str = "project",
    ) -> None:
        super().__init__()
        self.index = Index(layout)
        self.style = Style(api_version=api_version, serials=serials)
        self.formats = tuple(formats)  #: of "json" and "html", the default first
        self.json_type: str | None = None  #: replaces the content type of JSON pages
        self.html_type: str | None = None
        self.etags = etags
        self.last_modified = False  #: whether pages and files have Last-Modified, with 304 for it
        self.ranges = True
        self.latency = 0.0  #: seconds before every answer
        self.raw: dict[str, Answer] = {}  #: answers by path, before anything else
        self.frozen: dict[str, answers.Rendered] = {}
        self.rules: list[Rule] = []
        self.context: ssl.SSLContext | None = None
        self.ca_file: Path | None = None  #: for clients to trust
        if tls:
            self.context, self.ca_file = make_context()
        self.scheme = "https" if tls else "http"
        self.server = Server(host, self._respond, self.new_request, self.context, port)

    # Life

    def __enter__(self) -> Self:
        self.server.listen()
        self.style.root = self.root
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the server, and all stalled or held answers."""
        self.server.closing.set()
        release(self.rules)
        self.server.close()

    @property
    def host(self) -> str:
        """Host and port, as in an address."""
        host = f"[{self.server.host}]" if ":" in self.server.host else self.server.host
        return f"{host}:{self.server.port}"

    @property
    def root(self) -> str:
        """Scheme, host and port; no slash at the end."""
        return f"{self.scheme}://{self.host}"

    @property
    def url(self) -> str:
        """The address of the simple index."""
        return f"{self.root}/simple/"

    def refuse(self) -> None:
        """Refuse connections from now on, and drop those that are open."""
        self.server.refuse()

    def accept(self) -> None:
        """Listen again, on the same port."""
        self.server.listen()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Refuse connections within the block."""
        self.refuse()
        try:
            yield
        finally:
            self.accept()

    # The index

    @property
    def serial(self) -> int:
        """The global serial."""
        return self.index.serial

    @property
    def api_version(self) -> str | None:
        """The API version that pages name; None for pages that name none."""
        return self.style.api_version

    @api_version.setter
    def api_version(self, version: str | None) -> None:
        self.style.api_version = version

    @property
    def serials(self) -> bool:
        """Whether pages have serials."""
        return self.style.serials

    @serials.setter
    def serials(self, told: bool) -> None:
        self.style.serials = told

    def add_file(
        self, project: str, filename: str, content: bytes | Path, **said: Any
    ) -> IndexFile:
        """Offer a file; see `Index.add_file` for the arguments."""
        return self.index.add_file(project, filename, content, **said)

    def add_directory(self, directory: Path) -> list[IndexFile]:
        """Offer all wheels and sdists below a directory."""
        return offer(self.index, directory)

    def project(self, name: str) -> IndexProject:
        """Return a project; make it without files if it does not exist."""
        return self.index.project(name)

    def file(self, filename: str) -> IndexFile:
        """The first file of that name, in any project."""
        return next(
            file
            for project in self.index.projects.values()
            for file in project.files
            if file.filename == filename
        )

    def delete_project(self, name: str) -> None:
        """Remove the project: its page answers 404."""
        self.index.delete_project(name)

    # Pages that are not made from the index

    def serve(
        self,
        path: str,
        body: bytes | str = b"",
        content_type: str = "text/html; charset=utf-8",
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> None:
        """Answer a path with this, independent of the index."""
        data = body.encode() if isinstance(body, str) else body
        self.raw[path] = Answer(status, {"Content-Type": content_type} | (headers or {}), data)

    def page(
        self, project: str, body: bytes | str, content_type: str = answers.JSON, **more: Any
    ) -> None:
        """Return a project's page as it is now."""
        self.serve(f"/simple/{canonicalize_name(project)}/", body, content_type, **more)

    def list_page(self, body: bytes | str, content_type: str = answers.JSON, **more: Any) -> None:
        """Return the project list as it is now."""
        self.serve("/simple/", body, content_type, **more)

    def redirect(self, path: str, to: str, status: int = 302) -> None:
        """Redirect a path."""
        self.raw[path] = Answer(status, {"Location": to})

    def freeze(self, *where: Where) -> None:
        """Keep these pages as they are now (default: the list), like a cache in front."""
        for path in [path_of(w) for w in where] or ["/simple/"]:
            if frozen := answers.render(self, path):
                self.frozen[path] = frozen.fixed()

    def thaw(self, *where: Where) -> None:
        """Let pages follow the index again; without arguments, all of them."""
        for path in [path_of(w) for w in where] or list(self.frozen):
            self.frozen.pop(path, None)

    # Faults

    def fault(
        self,
        path: Where,
        fault: Fault,
        *,
        nth: int | None = None,
        times: int | None = None,
        each: bool = False,
        method: str | None = None,
    ) -> Rule:
        """Break requests for a path, which may be a glob.

        From the `nth` matching request on (default: the first), `times` times (default: always;
        once if `nth` is given). With `each`, the requests of every path are counted apart.
        """
        first = nth or 1
        if times is None and nth is not None:
            times = 1
        last = None if times is None else first + times - 1
        rule = Rule(path_of(path), fault, first, last, each, method)
        with self._changed:
            self.rules.append(rule)
        return rule

    def hold(self, path: Where, *, after: int | None = None, **when: Any) -> Hold:
        """Hold requests for a path until the returned handle's `release`."""
        fault = Hold(after)
        self.fault(path, fault, **when)
        return fault

    def heal(self, rule: Rule | None = None) -> None:
        """End one fault, or all."""
        with self._changed:
            healed = [r for r in self.rules if rule in (None, r)]
            self.rules = [r for r in self.rules if r not in healed]
        release(healed)

    # Connections

    def forget(self) -> None:
        """Empty the log and reset the peaks."""
        self.empty_log()
        with self.server.lock:
            self.server.peak = len(self.server.open)

    @property
    def connections(self) -> int:
        """Connections that were accepted so far."""
        return self.server.accepted

    @property
    def peak_connections(self) -> int:
        """The most connections that were open at once."""
        return self.server.peak

    # Answering

    def _respond(self, exchange: Exchange) -> None:
        request = exchange.request
        try:
            with self._changed:
                rules = [rule for rule in self.rules if rule.applies(request)]
            faults = [rule.fault for rule in rules]
            request.faults = tuple(type(fault).__name__ for fault in faults)
            if exchange.doomed:
                exchange.disconnect()
            if self.latency:
                Latency(self.latency).before(exchange)
            for fault in faults:
                fault.before(exchange)
            answer = answers.answer(self, exchange)
            for fault in faults:
                answer = fault.change(answer, exchange)
            if answer.status != 304:
                answer.headers.setdefault("Content-Length", str(len(answer.body)))
            sender = next((fault for fault in faults if fault.sends), Fault())
            sender.send(answer, exchange)
            request.finished = True
        finally:
            self.end_request(request)
