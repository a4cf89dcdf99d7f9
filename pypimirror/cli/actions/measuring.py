"""`pypimirror metrics`: print the metrics for Prometheus, or write them to a file."""

from __future__ import annotations

import sys
from pathlib import Path

from pypimirror.cli.display.output import print_json
from pypimirror.config import outputs
from pypimirror.config.settings import Config, ConfigError
from pypimirror.metrics import exposition


def show(config: Config, file: Path, textfile: Path | None, *, as_json: bool) -> None:
    """Print the metrics, or write them to `textfile`; `file` is the configuration."""
    if textfile is not None:
        if why := outputs.fault(textfile.absolute(), config.directory, [file.absolute()]):
            raise ConfigError(f"--textfile {textfile}: {why}")
        try:
            exposition.write_textfile(config, textfile)
        except OSError as error:
            raise ConfigError(f"{textfile}: cannot be written: {error.strerror}") from error
    if as_json:
        found = [
            {"name": sample.name, "labels": sample.labels, "value": sample.value}
            for family in exposition.collect(config).collect()
            for sample in family.samples
        ]
        print_json({"metrics": found})
    elif textfile is None:
        sys.stdout.write(exposition.render(config).decode())
