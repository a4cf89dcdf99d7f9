"""Where the Prefect project directory is: flows, tasks, migrations and `prefect.yaml`."""

from __future__ import annotations

from pathlib import Path


def project_directory() -> Path:
    """Return the checkout's root, or the copy of it that the wheel carries as package data."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "_project"
    return shipped if shipped.is_dir() else package.parent
