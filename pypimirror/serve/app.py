"""The WSGI app over a mirror root: the simple API's pages, and the files they link to.

The app needs only the tree (`tree`): a directory (`files`) or a bucket (`bucket`). So it can run
on another machine than the sync, or at the same time: each answer comes from one open file
(`answers`). If a bucket does not answer, the status is 503 and never 404, because after 404 an
installer would continue without the project.

Routes: `/`, `/simple/`, `/simple/<project>/`, `/packages/...`; `/pypi/<project>/json` if the mirror
has it; `/metrics` if the server was told to; those of `pages` if it has them. Redirects are
relative, so the app works below any prefix of a proxy.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from packaging.utils import InvalidName, canonicalize_name
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Request, Response

from pypimirror.serve import answers
from pypimirror.serve.answers import PAGE_NAMES, page_headers, send, text
from pypimirror.serve.files import Directory
from pypimirror.serve.install import install_text
from pypimirror.serve.tree import AwayError, Tree

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from pypimirror.serve.demand.demand import Demand
    from pypimirror.serve.metrics import ServerMetrics
    from pypimirror.serve.pages.asking import PagesForPeople


def create_app(
    tree: Path | Tree,
    metrics: ServerMetrics | None = None,
    pages: PagesForPeople | None = None,
    demand: Demand | None = None,
) -> WSGIApplication:
    """A WSGI app that serves a mirror root, which need not exist yet.

    With `metrics`, it also serves `/metrics`; with `pages`, pages for people; with `demand`, files
    that the mirror does not hold.
    """
    return _App(Directory(tree) if isinstance(tree, Path) else tree, metrics, pages, demand)


class _App:
    def __init__(
        self,
        tree: Tree,
        metrics: ServerMetrics | None,
        pages: PagesForPeople | None,
        demand: Demand | None,
    ) -> None:
        self.tree = tree
        self.metrics = metrics
        self.pages = pages
        self.demand = demand

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        request = Request(environ, populate_request=False)
        try:
            response = self.respond(request)
        except HTTPException as error:  # werkzeug refuses the request
            response = text(error.code or 400, error.description or error.name)
        except AwayError as error:
            environ["wsgi.errors"].write(f"{request.path!r}: {error}\n")
            response = _away()
        except OSError as error:
            environ["wsgi.errors"].write(f"{request.path!r}: {error}\n")
            response = text(500, "This file is here, but cannot be read; see the server's log.")
        response.headers["X-Content-Type-Options"] = "nosniff"
        if self.metrics is not None:
            self.metrics.count(response.status_code)
        return response(environ, start_response)

    def respond(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            refusal = text(405, "A mirror can only be read.")
            refusal.headers["Allow"] = "GET, HEAD"
            return refusal
        try:
            path = request.environ.get("PATH_INFO", "").encode("latin-1").decode()
        except UnicodeDecodeError:
            return _nothing_here()
        if "//" in path and path.lstrip("/").partition("/")[0] in ("simple", "pypi"):
            return _redirect(request, _without_empty(path))
        if self.pages is not None and self.pages.has(path or "/"):
            return self.pages.respond(request, path or "/", _address(request))
        match path.split("/")[1:]:
            case [] | [""]:
                return _landing(request)
            case ["simple"]:
                return _redirect(request, "simple/")
            case ["simple", ""]:
                return self.page(request, None)
            case ["simple", name] | ["simple", name, ""]:
                return self.project(request, name, slash=path.endswith("/"))
            case ["packages", *parts]:
                return self.package(request, parts)
            case ["metrics"] if self.metrics is not None:
                return _metrics(request, self.metrics)
            case ["pypi", name, "json"]:
                return self.legacy(request, name)
        return _nothing_here()

    def project(self, request: Request, name: str, *, slash: bool) -> Response:
        project = canonicalize_name(name)
        if slash and project == name:
            return self.page(request, name)
        try:
            canonicalize_name(name, validate=True)
        except InvalidName:
            return _nothing_here()
        return _redirect(request, f"../{project}/" if slash else f"{project}/")

    def page(self, request: Request, project: str | None) -> Response:
        """The root index, or the page of a project."""
        if self.demand is not None:
            return self.demand.page(request, project)
        return answers.page(self.tree, request, project) or _no_page(project)

    def legacy(self, request: Request, name: str) -> Response:
        """A project in PyPI's older JSON."""
        project = canonicalize_name(name)
        if project != name:
            try:
                canonicalize_name(name, validate=True)
            except InvalidName:
                return _nothing_here()
            return _redirect(request, f"../{project}/json")
        file = self.tree.open("pypi", project, "json")
        if file is None and self.tree.names_present("simple", project, names=PAGE_NAMES):
            return _no_legacy(project)
        if file is None:
            return _no_page(project)
        return send(request, file, page_headers(file, "application/json"))

    def package(self, request: Request, parts: list[str]) -> Response:
        found = answers.package(self.tree, request, parts)
        if found is None:
            if self.demand is not None:
                return self.demand.missing_file(request, parts)
            return text(404, "No such file on this mirror.")
        if self.demand is not None:
            self.demand.used(parts)
        return found


def _without_empty(path: str) -> str:
    """Return the path without its empty segments, as a relative redirect.

    The two paths are different addresses, because links of a page are relative. Below a prefix,
    Python's `urljoin` alone resolves the redirect differently: it ignores empty segments.
    """
    segments = [segment for segment in path.split("/") if segment]
    end = "/" if path.endswith("/") and segments else ""
    return "../" * (path.count("/") - 1) + quote("/".join(segments)) + end


def _nothing_here() -> Response:
    return text(404, "Nothing here. The index of this mirror is at /simple/.")


def _no_page(project: str | None) -> Response:
    if project is None:
        return text(404, "This mirror has no index yet. `pypimirror sync` makes one.")
    return text(
        404,
        "This mirror has no such project. Check its name. If it is right, the mirror does not"
        " select the project, or the last sync was before the project was there.",
    )


def _no_legacy(project: str) -> Response:
    return text(
        404,
        f"This mirror has {project} at /simple/{project}/, but not in PyPI's older JSON. For that,"
        " its configuration needs 'legacy' in [publish] formats, and then a sync.",
    )


def _redirect(request: Request, location: str) -> Response:
    if query := request.environ.get("QUERY_STRING"):
        location += f"?{query}"
    response = text(301, f"The page is at {location}")
    response.headers["Location"] = location
    return response


def _away() -> Response:
    response = text(503, "The storage of this mirror does not answer now. Try again soon.")
    response.headers["Retry-After"] = "10"
    return response


def _metrics(request: Request, metrics: ServerMetrics) -> Response:
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    content, content_type = metrics.render(request.headers.get("Accept", ""))
    return Response(content, 200, headers, content_type=content_type)


def _address(request: Request) -> str:
    """Return the address of the mirror as the client sees it."""
    root = request.root_url
    if request.headers.get("X-Forwarded-Proto") == "https":  # a web server in front does TLS
        root = f"https://{root.partition('://')[2]}"
    return root


def _landing(request: Request) -> Response:
    """How to install, for a server without pages."""
    return text(200, install_text(f"{_address(request)}simple/").rstrip())
