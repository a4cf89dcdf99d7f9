"""`pypimirror retry`: find the run to repeat, and repeat it with its own command."""

from __future__ import annotations

from pathlib import Path

from pypimirror.cli.actions import history, syncing, verifying
from pypimirror.cli.display.output import out, print_json
from pypimirror.config.settings import Config, ConfigError
from pypimirror.pipeline import retry
from pypimirror.pipeline.audit import audit
from pypimirror.pipeline.summary import Summary


def run(
    file: Path | None,
    config: Config,
    name: str | None,
    *,
    inline: bool | None,
    as_json: bool,
    quiet: bool,
    wait: str | None = None,
) -> Summary:
    """Repeat what a run left undone, print how that ended, and return it."""
    with history.open_catalog(config) as catalog, catalog.read() as connection:
        row = retry.find_run(connection, name)
        options = audit.again(connection, row) if row and row.command == "verify" else None
    if row is None:
        result = Summary.of_nothing("sync", "Nothing to retry: no run has left anything undone")
    elif options is not None:
        result = verifying.run(config, options, quiet=quiet, retry=row.name, wait=wait)
    elif row.command == "sync":
        result = syncing.run(
            file, config, (), inline=inline, quiet=quiet, retry=row.name, wait=wait
        )
    else:
        again = f"repeat it with 'pypimirror {row.command}'"
        raise ConfigError(f"{row.name}: is a run of {row.command}; {again}")
    if result.run and options is not None:
        verifying.show_result(result, as_json=as_json, quiet=quiet)
    elif result.run:
        syncing.show(result, config, as_json=as_json, quiet=quiet)
    elif as_json:
        print_json(result.as_json())
    elif not quiet:
        out.print(result.message, markup=False)
    return result
