"""`pypimirror serve`: replace this process by the web server."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pypimirror.cli.errors import no_mirror
from pypimirror.config.settings import Config
from pypimirror.serve.command import server_command
from pypimirror.storage.opening import has_pages


def serve_mirror(
    config: Config, file: Path, host: str, port: int, *, as_json: bool, verbose: bool
) -> None:
    """Replace this process by the web server, since gevent must be loaded before all else.

    Raises `ConfigError` if there is no mirror yet, and nothing makes one on demand, or if the
    fetcher could not use the configuration.
    """
    check_selections(config)
    if not config.on_demand.projects and not has_pages(config.directory, config.bucket):
        raise no_mirror(config.shown)
    command = server_command(config, file, host, port, as_json=as_json, verbose=verbose)
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606 - this very Python


def check_selections(config: Config) -> None:
    """Raise `ConfigError` if a fetcher could not use the configuration."""
    if config.on_demand.projects:
        from pypimirror.select.selection import Selection, policy  # slow to import

        Selection(config), policy(config)
