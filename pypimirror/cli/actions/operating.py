"""`pypimirror up` and `pypimirror deploy`: run everything on this machine, or set Prefect up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from contextlib import closing
from pathlib import Path

from pypimirror.catalog.database import Catalog, is_absent
from pypimirror.catalog.engines import errors
from pypimirror.catalog.queries import projects, runs
from pypimirror.cli.actions.run_news import RunNews
from pypimirror.cli.actions.serving import check_selections
from pypimirror.cli.display import hints
from pypimirror.cli.display.output import out, print_json
from pypimirror.cli.errors import Exit
from pypimirror.config.settings import DEFAULT_FILE, Config
from pypimirror.domain.addresses import without_login
from pypimirror.domain.model import PypimirrorError
from pypimirror.domain.sizes import number_of
from pypimirror.storage import lock
from pypimirror.system.project import project_directory
from pypimirror.up.everything import RunningParts
from pypimirror.up.parts import UP_LOCK, Parts, limit, plan, prepare


def with_options(
    config: Config, *, host: str | None, port: int | None, prefect_port: int | None
) -> Config:
    """Return the configuration with the options of the command line; None leaves a value."""
    up = {"host": host, "port": port}
    prefect = {"port": prefect_port}
    return config.model_copy(
        update={
            name: section.model_copy(update={k: v for k, v in given.items() if v is not None})
            for name, section, given in (
                ("up", config.up, up),
                ("prefect", config.prefect, prefect),
            )
        }
    )


def run_up(
    file: Path | None,
    config: Config,
    *,
    web: bool,
    server: bool,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> Exit:
    """Run Prefect, worker and web server until a signal; return the exit code.

    Raises `ConfigError`, before anything is started, if a part could not use the configuration.
    """
    if web:
        check_selections(config)
    prepare(config)
    _set_up_logging(verbose, quiet)
    left = unfinished(config)
    with lock.hold(config.private / UP_LOCK, "another pypimirror up") as held:
        parts = plan(config, file or DEFAULT_FILE, web=web, server=server)
        held.name(without_login(parts.api))
        machine = RunningParts(parts, config)
        news = RunNews(config)
        in_order = asyncio.run(
            machine.run(
                lambda: _announce(parts, config, left, as_json=as_json, quiet=quiet), news.tell
            )
        )
    return Exit.DONE if in_order else Exit.INTERRUPTED


def _set_up_logging(verbose: bool, quiet: bool) -> None:
    """Log plain lines: the events of the parts and, with `verbose`, all of their output."""
    logger = logging.getLogger("pypimirror.up")
    logger.setLevel(logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO)
    logger.addHandler(logging.StreamHandler())
    logger.propagate = False


def unfinished(config: Config) -> int:
    """Return how many projects an unfinished sync has left; 0 if the catalog does not say."""
    if is_absent(config.catalog_url):
        return 0
    try:
        catalog = Catalog.open(config.catalog_url, reading=True)
        with closing(catalog), catalog.read() as connection:
            last = next((run for run in runs.recent(connection, 9) if run.command == "sync"), None)
            if last is None or last.state in (runs.COMPLETED, runs.INCOMPLETE):
                return 0
            return projects.number_left(connection, None)
    except (PypimirrorError, errors.SQLAlchemyError):  # the parts will say why
        return 0


def _announce(parts: Parts, config: Config, left: int, *, as_json: bool, quiet: bool) -> None:
    api = without_login(parts.api)
    ui = api.removesuffix("/api")
    if as_json:
        web = {"web": parts.web_url} if parts.web else {}
        print_json({"directory": str(config.directory), "prefect": api, **web, "unfinished": left})
    elif not quiet:
        web_line = f"{parts.web_url}simple/" if parts.web else "not served"
        out.print(f"Ready. Mirror: {web_line}  Prefect: {ui}", markup=False)
        if left:
            out.print(
                "The last sync was cut short. The next one does what it left: "
                f"{number_of(left, 'project')}."
            )
        out.print(
            f"Run now: PREFECT_API_URL={api} {hints.beside('prefect')} deployment run sync/adhoc "
            "--watch",
            markup=False,
        )
        sys.stdout.flush()


def deploy(file: Path | None, config: Config, *, as_json: bool, quiet: bool) -> None:
    """Create work pool, deployments, schedules and automations on the Prefect API."""
    sys.path.insert(0, str(project_directory()))
    # Logs go to standard error: standard output belongs to the result.
    with contextlib.redirect_stdout(sys.stderr):
        from flows.deployments import apply

        made = apply(file or DEFAULT_FILE, config)
    if as_json:
        print_json(made.as_json())
    elif not quiet:
        for name, when in made.deployments.items():
            out.print(f"{name}: {when or 'on demand'}", markup=False)
        start = f"worker start --pool {made.work_pools[0]} --limit {limit(config)}"
        out.print(f"Start a worker: {hints.beside('prefect')} {start}", markup=False)
