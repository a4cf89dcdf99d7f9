"""Build hook: the Prefect project directory travels in the wheel as package data.

A Prefect project is a directory, not a library, so that nothing but `pypimirror` is installed
top-level. An editable install gets no copy: there the checkout itself is the project directory
(`pypimirror.system.project`), and a copy would only grow stale.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PARTS = ("flows", "tasks", "migrations", "prefect.yaml")


class ProjectDirectoryHook(BuildHookInterface[Any]):
    """Adds the parts of the project directory to a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name what goes into the wheel, and where."""
        if version == "standard":
            for part in PARTS:
                build_data["force_include"][part] = f"pypimirror/_project/{part}"
