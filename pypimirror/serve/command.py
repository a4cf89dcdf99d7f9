"""The command of the web server. It is a program of its own, because gevent must load first."""

from __future__ import annotations

import sys
from pathlib import Path

from pypimirror.config.settings import Config


def server_command(
    config: Config,
    file: Path,
    host: str,
    port: int,
    *,
    as_json: bool = False,
    verbose: bool = False,
) -> list[str]:
    """Return the command that serves the mirror of `config`, which came from `file`."""
    command = [sys.executable, "-P", "-m", "pypimirror.serve.server"]
    if config.bucket is None:
        command += ["--directory", str(config.directory)]
    else:
        command += ["--bucket", str(file.absolute())]
    command += ["--host", host, "--port", str(port)]
    if config.metrics.serve:
        command += ["--metrics", str(file.absolute())]
    if config.on_demand.projects:
        command += ["--on-demand", str(file.absolute())]
    if config.serve.pages:
        command += ["--pages", str(file.absolute())]
    if verbose:
        command.append("-v")
    if as_json:
        command.append("--json")
    return command
