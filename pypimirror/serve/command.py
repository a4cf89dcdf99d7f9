"""The command of the web server. It is a program of its own, because gevent must load first."""

from __future__ import annotations

import sys
from pathlib import Path

from pypimirror.config.settings import Config, available_cores

#: Most processes, unless the configuration asks for more; each takes some 40 MB.
ENOUGH = 4


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
    command += ["--processes", str(_processes(config))]
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


def _processes(config: Config) -> int:
    """Return how many processes serve. A bucket gets one, because others could only pass requests
    on.
    """
    if config.bucket is not None:
        return 1
    return config.serve.processes or min(available_cores(), ENOUGH)
