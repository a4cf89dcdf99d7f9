"""The commands for servers and schedules: `serve`, `up` and `deploy`.

Each command imports the heavy modules that it needs, so that all others start fast.
"""

from __future__ import annotations

from typing import Annotated

import typer

from pypimirror.cli.app import app
from pypimirror.cli.display.output import set_up_logging
from pypimirror.cli.options import ConfigOption, JsonOption, QuietOption, VerboseOption
from pypimirror.config.settings import DEFAULT_FILE, load


@app.command(epilog="Example: pypimirror serve --host 0.0.0.0 --port 8080")
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")
    ] = 8080,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Serve the mirror over HTTP until interrupted."""
    from pypimirror.cli.actions.serving import serve_mirror

    set_up_logging(verbose, quiet)
    file = config or DEFAULT_FILE
    serve_mirror(load(config), file, host, port, as_json=as_json, verbose=verbose > 0)


@app.command(epilog="Examples: pypimirror up; pypimirror up --host 0.0.0.0 --prefect-port 0")
def up(
    web: Annotated[
        bool | None,
        typer.Option("--web/--no-web", help="Serve the mirror, or not; default: [up] web."),
    ] = None,
    server: Annotated[
        bool,
        typer.Option(
            "--server/--no-server",
            help="Start a Prefect server, or use the one that PREFECT_API_URL names.",
        ),
    ] = True,
    host: Annotated[str | None, typer.Option(help="Address to serve the mirror on.")] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port to serve the mirror on; 0 for any free one."),
    ] = None,
    prefect_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of the Prefect server; 0 for any free one."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Run everything here until interrupted: Prefect server, schedules, worker, web server."""
    from pypimirror.cli.actions import operating

    set_up_logging(verbose, quiet)
    settings = operating.with_options(load(config), host=host, port=port, prefect_port=prefect_port)
    wanted = settings.up.web if web is None else web
    raise typer.Exit(
        operating.run_up(
            config,
            settings,
            web=wanted,
            server=server,
            as_json=as_json,
            verbose=verbose > 0,
            quiet=quiet,
        )
    )


@app.command(epilog="Example: PREFECT_API_URL=http://127.0.0.1:4200/api pypimirror deploy")
def deploy(
    config: ConfigOption = None,
    as_json: JsonOption = False,
    verbose: VerboseOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Set up a Prefect server: work pool, deployments, schedules and alerts."""
    from pypimirror.cli.actions import operating

    set_up_logging(verbose, quiet)
    operating.deploy(config, load(config), as_json=as_json, quiet=quiet)
