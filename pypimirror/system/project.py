"""The Prefect project directory: flows, tasks, migrations and `prefect.yaml`."""

from __future__ import annotations

from pathlib import Path


def project_directory() -> Path:
    """Return the root of the checkout, or the copy of these files in the wheel."""
    package = Path(__file__).resolve().parents[1]
    shipped = package / "_project"
    return shipped if shipped.is_dir() else package.parent
